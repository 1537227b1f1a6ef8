//! What an answer to a batch means.

use corelane_net::ErrorCode;

/// What to do about a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is stored.
    Delivered,
    /// Nothing of it is stored, because of a record in it: others may do.
    RecordsRefused,
    /// It is not stored, or nobody knows: the same batch may do next time.
    Again,
    /// Neither it nor anything else will be stored.
    Hopeless,
}

/// What to do about a batch that was answered with `error`.
pub(crate) fn verdict(error: ErrorCode) -> Verdict {
    match error {
        // A duplicate was stored when it was sent the first time.
        ErrorCode::None | ErrorCode::DuplicateSequenceNumber => Verdict::Delivered,
        ErrorCode::MessageTooLarge
        | ErrorCode::RecordListTooLarge
        | ErrorCode::InvalidRecord
        | ErrorCode::InvalidTimestamp => Verdict::RecordsRefused,
        error if error.is_retriable() => Verdict::Again,
        _ => Verdict::Hopeless,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_mean_what_they_mean_to_every_producer() {
        let table = [
            (ErrorCode::None, Verdict::Delivered),
            (ErrorCode::DuplicateSequenceNumber, Verdict::Delivered),
            (ErrorCode::MessageTooLarge, Verdict::RecordsRefused),
            (ErrorCode::InvalidRecord, Verdict::RecordsRefused),
            (ErrorCode::NotLeaderOrFollower, Verdict::Again),
            (ErrorCode::UnknownTopicOrPartition, Verdict::Again),
            (ErrorCode::RequestTimedOut, Verdict::Again),
            (ErrorCode::KafkaStorageError, Verdict::Again),
            (ErrorCode::TopicAuthorizationFailed, Verdict::Hopeless),
            (ErrorCode::OutOfOrderSequenceNumber, Verdict::Hopeless),
            (ErrorCode::InvalidProducerEpoch, Verdict::Hopeless),
            (ErrorCode::UnknownServerError, Verdict::Hopeless),
        ];
        for (error, expected) in table {
            assert_eq!(verdict(error), expected, "{error}");
        }
    }
}

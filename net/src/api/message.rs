//! Control messages: everything but the bodies of Produce and Fetch, over the generated codecs.

use bytes::{Bytes, BytesMut};
use kafka_wire::{KafkaRequest, KafkaResponse};
use kafka_wire_core::{ApiVersion, DecodeError, DecodeLimits, Decoder, EncodeError};

use super::table::API_VERSIONS;
use crate::response::{Response, ResponseBuilder};

/// The limits inside one control message. A frame is bounded already; these bound what it can expand to.
#[derive(Clone, Copy, Debug)]
pub struct ControlLimits {
    /// Bytes of one request's body: some fields take thirty times their wire size in memory.
    pub request_bytes_max: usize,
    /// Bytes of one string.
    pub string_bytes_max: usize,
    /// Bytes of one byte field.
    pub bytes_bytes_max: usize,
    /// Elements of one array.
    pub array_elements_max: usize,
    /// Tagged fields of one structure.
    pub tagged_fields_max: usize,
}

/// The limits used for every request and response that is not on the data path.
pub const CONTROL_LIMITS: ControlLimits = ControlLimits {
    request_bytes_max: 8 * 1024 * 1024,
    // What Kafka reads, and what the older encodings can say.
    string_bytes_max: 32_767,
    bytes_bytes_max: 16 * 1024 * 1024,
    array_elements_max: 200_000,
    tagged_fields_max: 64,
};

/// [`CONTROL_LIMITS`] in the generated codecs' terms, for a message of `size_bytes`.
pub fn control_limits(size_bytes: usize) -> DecodeLimits {
    let mut limits = DecodeLimits::default();
    limits.max_frame_bytes = size_bytes;
    limits.max_string_bytes = CONTROL_LIMITS.string_bytes_max;
    limits.max_bytes_bytes = CONTROL_LIMITS.bytes_bytes_max;
    limits.max_array_elements = CONTROL_LIMITS.array_elements_max;
    limits.max_tagged_fields = CONTROL_LIMITS.tagged_fields_max;
    limits.max_tag_bytes = CONTROL_LIMITS.string_bytes_max;
    limits.max_total_tag_bytes = CONTROL_LIMITS.bytes_bytes_max;
    limits
}

/// Reads the body of a control request. The body is copied once, since the message's strings share it and
/// outlive the frame. Bytes behind the body are ignored, as Kafka ignores them: librdkafka 2.12 sends three of them with
/// Metadata version 13.
pub fn decode_request<R: KafkaRequest>(body: &[u8], version: i16) -> Result<R, DecodeError> {
    let limit = CONTROL_LIMITS.request_bytes_max;
    if body.len() > limit {
        return Err(DecodeError::LimitExceeded {
            kind: "control request",
            length: body.len(),
            limit,
            offset: 0,
        });
    }
    let limits = control_limits(body.len());
    let mut decoder = Decoder::new(Bytes::copy_from_slice(body), limits)?;
    R::decode(&mut decoder, ApiVersion::new(version))
}

/// Whether the response to `R` in `version` has the header with tagged fields. `ApiVersions` never has.
pub fn flexible_response_header<R: KafkaResponse>(version: i16) -> bool {
    R::API_KEY.value() != API_VERSIONS && R::is_flexible(ApiVersion::new(version))
}

/// Writes a control response.
///
/// # Errors
/// If the message cannot be said in this version: a value in a field that the version does not have.
pub fn encode_response<S, R: KafkaResponse>(
    correlation_id: i32,
    version: i16,
    response: &R,
) -> Result<Response<S>, EncodeError> {
    let mut body = BytesMut::new();
    response.encode_into(&mut body, ApiVersion::new(version))?;
    let mut builder = ResponseBuilder::new(
        correlation_id,
        flexible_response_header::<R>(version),
        body.len(),
    );
    builder.bytes_mut().extend_from_slice(&body);
    Ok(builder.finish())
}

#[cfg(test)]
mod tests {
    use super::{decode_request, encode_response};
    use kafka_wire::{MetadataRequest, MetadataResponse};

    #[test]
    fn a_count_without_bytes_behind_it_takes_no_memory() {
        // Metadata v1: an array of i32::MAX topics and nothing else.
        let body = i32::MAX.to_be_bytes();
        assert!(decode_request::<MetadataRequest>(&body, 1).is_err());
    }

    #[test]
    fn bytes_behind_a_request_are_ignored() {
        // Metadata v1 for all topics, and what does not belong to it.
        let body = [0xff, 0xff, 0xff, 0xff, 0, 0, 0];
        let request = decode_request::<MetadataRequest>(&body, 1).unwrap();
        assert_eq!(request.topics, None);
    }

    #[test]
    fn the_header_is_flexible_where_the_body_is() {
        let response = MetadataResponse::default();
        let old = encode_response::<&[u8], _>(5, 8, &response)
            .unwrap()
            .to_vec();
        let new = encode_response::<&[u8], _>(5, 9, &response)
            .unwrap()
            .to_vec();
        assert_eq!(&old[4..12], [0, 0, 0, 5, 0, 0, 0, 0]);
        // The byte after the correlation id is the header's empty tagged fields.
        assert_eq!(&new[4..13], [0, 0, 0, 5, 0, 0, 0, 0, 0]);
        assert_eq!(
            new.len(),
            4 + i32::from_be_bytes(new[..4].try_into().unwrap()) as usize
        );
    }
}

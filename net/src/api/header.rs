//! Request headers.

use bytes::BufMut;
use thiserror::Error;

use super::table::{SupportedApi, supported_api};
use crate::wire::{WireError, WireReader, put_nullable_string};

/// The header of one request, borrowed from its frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestHeader<'a> {
    /// The API asked for. It is in the table of supported APIs.
    pub api_key: i16,
    /// The version asked for. It need not be one that is served.
    pub api_version: i16,
    /// Stands in the response again.
    pub correlation_id: i32,
    /// What the client calls itself.
    pub client_id: Option<&'a str>,
}

/// Why a request's header is of no use. Each of these closes the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum HeaderError {
    /// The API is not served; not even the header's layout is known.
    #[error("unknown API key {api_key} (version {api_version}, correlation id {correlation_id})")]
    UnknownApi {
        /// The key found.
        api_key: i16,
        /// The version found.
        api_version: i16,
        /// The correlation id found.
        correlation_id: i32,
    },
    /// The bytes are no header.
    #[error("malformed request header: {0}")]
    Malformed(#[from] WireError),
}

impl<'a> RequestHeader<'a> {
    /// Reads the header at the start of a frame (without its length prefix). Returns it and the body behind it.
    ///
    /// A version beyond the API's range is no error here: `ApiVersions` must be answered in any version.
    #[inline]
    pub fn parse(frame: &'a [u8]) -> Result<(Self, &'a [u8]), HeaderError> {
        let mut reader = WireReader::new(frame);
        let api_key = reader.i16()?;
        let api_version = reader.i16()?;
        let correlation_id = reader.i32()?;
        let api = supported_api(api_key).ok_or(HeaderError::UnknownApi {
            api_key,
            api_version,
            correlation_id,
        })?;
        // The client id keeps its old encoding in every header version; only the tagged fields are new.
        let client_id = reader.nullable_string(false)?;
        reader.skip_tagged_fields(api.is_flexible(api_version))?;
        let header = Self {
            api_key,
            api_version,
            correlation_id,
            client_id,
        };
        Ok((header, reader.rest()))
    }

    /// The API's row in the table.
    pub fn api(&self) -> Option<&'static SupportedApi> {
        supported_api(self.api_key)
    }

    /// Whether the version asked for is one this server advertises.
    pub fn has_supported_version(&self) -> bool {
        self.api()
            .is_some_and(|api| api.has_version(self.api_version))
    }
}

/// Writes a request's header, as a client does.
pub fn put_request_header(
    out: &mut Vec<u8>,
    api_key: i16,
    api_version: i16,
    correlation_id: i32,
    client_id: Option<&str>,
    flexible: bool,
) {
    out.put_i16(api_key);
    out.put_i16(api_version);
    out.put_i32(correlation_id);
    put_nullable_string(out, false, client_id);
    if flexible {
        out.push(0);
    }
}

#[cfg(test)]
mod tests {
    use super::{HeaderError, RequestHeader, put_request_header};
    use crate::api::{FETCH, PRODUCE, supported_apis};
    use kafka_protocol::messages::RequestHeader as Other;
    use kafka_protocol::protocol::{Decodable, Encodable, StrBytes};

    #[test]
    fn headers_agree_with_the_second_opinion_in_every_version() {
        for api in supported_apis() {
            for version in api.version_min..=api.version_max {
                let flexible = api.is_flexible(version);
                let other = Other::default()
                    .with_request_api_key(api.key)
                    .with_request_api_version(version)
                    .with_correlation_id(77)
                    .with_client_id(Some(StrBytes::from_static_str("someone")));
                let mut theirs = Vec::new();
                other
                    .encode(&mut theirs, if flexible { 2 } else { 1 })
                    .unwrap();
                let mut ours = Vec::new();
                put_request_header(&mut ours, api.key, version, 77, Some("someone"), flexible);
                assert_eq!(ours, theirs);
                theirs.extend_from_slice(b"body");
                let (header, body) = RequestHeader::parse(&theirs).unwrap();
                assert_eq!(
                    (header.api_key, header.api_version, header.correlation_id),
                    (api.key, version, 77)
                );
                assert_eq!(header.client_id, Some("someone"));
                assert_eq!(body, b"body");
                assert!(header.has_supported_version());
                let read = Other::decode(&mut &ours[..], if flexible { 2 } else { 1 }).unwrap();
                assert_eq!(read, other);
            }
        }
    }

    #[test]
    fn what_is_no_header_is_refused() {
        let mut unknown = Vec::new();
        put_request_header(&mut unknown, 9_999, 0, 1, None, false);
        assert!(matches!(
            RequestHeader::parse(&unknown),
            Err(HeaderError::UnknownApi {
                api_key: 9_999,
                correlation_id: 1,
                ..
            })
        ));
        let mut whole = Vec::new();
        put_request_header(&mut whole, FETCH, 13, 1, Some("client"), true);
        for length in 0..whole.len() {
            assert!(matches!(
                RequestHeader::parse(&whole[..length]),
                Err(HeaderError::Malformed(_))
            ));
        }
        let mut beyond = Vec::new();
        put_request_header(&mut beyond, PRODUCE, 99, 1, None, true);
        assert!(
            !RequestHeader::parse(&beyond)
                .unwrap()
                .0
                .has_supported_version()
        );
    }
}

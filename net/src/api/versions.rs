//! The answer to `ApiVersions`, which every client asks first.
//!
//! It has rules of its own: it is answered in any version (an unknown one gets a version 0 body that names only
//! `ApiVersions`, from which the client learns what to ask), its response header never has tagged fields, and
//! below version 4 features that start at 0 are left out.

use kafka_wire::api_versions_response::{ApiVersion, FinalizedFeatureKey, SupportedFeatureKey};
use kafka_wire::{ApiVersionsRequest, ApiVersionsResponse};
use kafka_wire_core::{DecodeError, EncodeError};
use thiserror::Error;

use super::header::RequestHeader;
use super::message::{decode_request, encode_response};
use super::table::{API_VERSIONS, SupportedApi, supported_apis};
use crate::error_code::ErrorCode;
use crate::response::Response;

/// A feature this server could run, with the levels it knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Feature {
    /// Kafka's name of the feature.
    pub name: &'static str,
    /// Lowest level known.
    pub level_min: i16,
    /// Highest level known.
    pub level_max: i16,
}

/// A feature and the level that is switched on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FeatureLevel {
    /// Kafka's name of the feature.
    pub name: &'static str,
    /// The level in force.
    pub level: i16,
}

/// What the answer says of features. The default says nothing, which is safe with every client.
#[derive(Clone, Copy, Debug)]
pub struct ServerFeatures<'a> {
    /// Features this server knows.
    pub supported: &'a [Feature],
    /// Features in force.
    pub finalized: &'a [FeatureLevel],
    /// Grows with each change of the features in force; -1 for none.
    pub finalized_epoch: i64,
}

impl Default for ServerFeatures<'_> {
    fn default() -> Self {
        Self {
            supported: &[],
            finalized: &[],
            finalized_epoch: -1,
        }
    }
}

/// Why `ApiVersions` could not be answered.
#[derive(Debug, Error)]
pub enum ApiVersionsError {
    /// The request's body is malformed.
    #[error("malformed ApiVersions request: {0}")]
    Request(#[from] DecodeError),
    /// The answer cannot be said in the version asked for.
    #[error("ApiVersions answer: {0}")]
    Answer(#[from] EncodeError),
}

/// Answers `ApiVersions`.
pub fn answer_api_versions<S>(
    header: &RequestHeader<'_>,
    body: &[u8],
    features: &ServerFeatures<'_>,
) -> Result<Response<S>, ApiVersionsError> {
    let version = header.api_version;
    let mut answer = ApiVersionsResponse::default();
    if !header.has_supported_version() {
        answer.error_code = ErrorCode::UnsupportedVersion.code();
        answer.api_keys = supported_apis()
            .iter()
            .filter(|api| api.key == API_VERSIONS)
            .map(row)
            .collect();
        return Ok(encode_response(header.correlation_id, 0, &answer)?);
    }
    let request: ApiVersionsRequest = decode_request(body, version)?;
    if version >= 3
        && !(is_software_name(&request.client_software_name)
            && is_software_name(&request.client_software_version))
    {
        answer.error_code = ErrorCode::InvalidRequest.code();
        return Ok(encode_response(header.correlation_id, version, &answer)?);
    }
    answer.api_keys = supported_apis().iter().map(row).collect();
    if version >= 3 {
        answer.supported_features = features
            .supported
            .iter()
            .filter(|feature| version >= 4 || feature.level_min > 0)
            .map(|feature| {
                let mut key = SupportedFeatureKey::default();
                key.name = feature.name.into();
                key.min_version = feature.level_min;
                key.max_version = feature.level_max;
                key
            })
            .collect();
        answer.finalized_features_epoch = features.finalized_epoch;
        answer.finalized_features = features
            .finalized
            .iter()
            .map(|feature| {
                let mut key = FinalizedFeatureKey::default();
                key.name = feature.name.into();
                key.min_version_level = feature.level;
                key.max_version_level = feature.level;
                key
            })
            .collect();
    }
    Ok(encode_response(header.correlation_id, version, &answer)?)
}

fn row(api: &SupportedApi) -> ApiVersion {
    let mut row = ApiVersion::default();
    row.api_key = api.key;
    row.min_version = api.version_min;
    row.max_version = api.version_max;
    row
}

/// Kafka's rule for a client's software name and version: letters and digits, with dots and hyphens inside.
fn is_software_name(name: &str) -> bool {
    let inside =
        |character: char| character.is_ascii_alphanumeric() || character == '.' || character == '-';
    let edge = |character: Option<char>| {
        character.is_some_and(|character| character.is_ascii_alphanumeric())
    };
    name.chars().all(inside) && edge(name.chars().next()) && edge(name.chars().next_back())
}

#[cfg(test)]
mod tests {
    use super::{Feature, FeatureLevel, ServerFeatures, answer_api_versions, is_software_name};
    use crate::api::{API_VERSIONS, RequestHeader, put_request_header, supported_apis};
    use crate::error_code::ErrorCode;
    use kafka_protocol::messages::{ApiVersionsRequest, ApiVersionsResponse};
    use kafka_protocol::protocol::{Decodable, Encodable, StrBytes};

    const FEATURES: ServerFeatures<'_> = ServerFeatures {
        supported: &[
            Feature {
                name: "from.zero",
                level_min: 0,
                level_max: 1,
            },
            Feature {
                name: "from.one",
                level_min: 1,
                level_max: 7,
            },
        ],
        finalized: &[FeatureLevel {
            name: "from.one",
            level: 7,
        }],
        finalized_epoch: 3,
    };

    fn answer(version: i16, body: &[u8]) -> Vec<u8> {
        let mut frame = Vec::new();
        put_request_header(
            &mut frame,
            API_VERSIONS,
            version,
            9,
            Some("c"),
            version >= 3,
        );
        frame.extend_from_slice(body);
        let (header, body) = RequestHeader::parse(&frame).unwrap();
        let response = answer_api_versions::<&[u8]>(&header, body, &FEATURES)
            .unwrap()
            .to_vec();
        assert_eq!(&response[4..8], 9_i32.to_be_bytes());
        response[8..].to_vec()
    }

    fn request(version: i16, name: &'static str) -> Vec<u8> {
        let mut body = Vec::new();
        let mut request = ApiVersionsRequest::default();
        if version >= 3 {
            request = request
                .with_client_software_name(StrBytes::from_static_str(name))
                .with_client_software_version(StrBytes::from_static_str("1.0"));
        }
        request.encode(&mut body, version).unwrap();
        body
    }

    #[test]
    fn every_advertised_version_is_answered_with_the_whole_table() {
        for version in 0..=4 {
            let bytes = answer(version, &request(version, "librdkafka"));
            let mut rest = &bytes[..];
            let read = ApiVersionsResponse::decode(&mut rest, version).unwrap();
            assert!(rest.is_empty());
            assert_eq!(read.error_code, 0);
            let rows: Vec<_> = read
                .api_keys
                .iter()
                .map(|row| (row.api_key, row.min_version, row.max_version))
                .collect();
            let expected: Vec<_> = supported_apis()
                .iter()
                .map(|api| (api.key, api.version_min, api.version_max))
                .collect();
            assert_eq!(rows, expected);
            let names: Vec<_> = read
                .supported_features
                .iter()
                .map(|feature| feature.name.to_string())
                .collect();
            match version {
                0..=2 => assert!(names.is_empty()),
                3 => assert_eq!(names, ["from.one"]),
                _ => assert_eq!(names, ["from.zero", "from.one"]),
            }
        }
    }

    #[test]
    fn an_unknown_version_learns_the_known_range() {
        let bytes = answer(90, b"anything at all");
        let mut rest = &bytes[..];
        let read = ApiVersionsResponse::decode(&mut rest, 0).unwrap();
        assert!(rest.is_empty());
        assert_eq!(read.error_code, ErrorCode::UnsupportedVersion.code());
        assert_eq!(read.api_keys.len(), 1);
        assert_eq!(
            (read.api_keys[0].api_key, read.api_keys[0].max_version),
            (API_VERSIONS, 4)
        );
    }

    #[test]
    fn software_names_follow_kafkas_rule() {
        for (name, good) in [
            ("apache-kafka-java", true),
            ("a", true),
            ("", false),
            ("-a", false),
            ("a b", false),
        ] {
            assert_eq!(is_software_name(name), good, "{name:?}");
        }
        let bytes = answer(4, &request(4, "-bad-"));
        let read = ApiVersionsResponse::decode(&mut &bytes[..], 4).unwrap();
        assert_eq!(read.error_code, ErrorCode::InvalidRequest.code());
    }
}

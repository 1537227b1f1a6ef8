//! `UpdateFeatures`: no feature of this server has a level that could be changed.

use corelane_net::api::{Feature, FeatureLevel, ServerFeatures};
use corelane_net::error_code::ErrorCode;
use kafka_wire::update_features_response::UpdatableFeatureResult;
use kafka_wire::{UpdateFeaturesRequest, UpdateFeaturesResponse};
use kafka_wire_core::StrBytes;

use crate::config::definition::echo;
use crate::metadata::Nodes;

/// What this server can run, and runs: consumer groups of the new protocol, as a Kafka 4.1 cluster says it does.
pub(super) static SERVER_FEATURES: ServerFeatures<'static> = ServerFeatures {
    supported: &[Feature {
        name: "group.version",
        level_min: 0,
        level_max: 1,
    }],
    finalized: &[FeatureLevel {
        name: "group.version",
        level: 1,
    }],
    finalized_epoch: 0,
};

/// From this version on there is one result for all features.
const ONE_RESULT_SINCE: i16 = 2;

/// Answers the request: an update to the level in force succeeds, any other is refused, and so is a request without any.
pub(super) fn update(
    request: &UpdateFeaturesRequest,
    version: i16,
    features: &ServerFeatures<'_>,
    nodes: &Nodes,
) -> UpdateFeaturesResponse {
    let mut response = UpdateFeaturesResponse::default();
    response.error_message = None;
    if request.feature_updates.is_empty() {
        response.error_code = ErrorCode::InvalidRequest.code();
        response.error_message = Some(StrBytes::from("No feature updates were given."));
        return response;
    }
    for update in &request.feature_updates {
        let name = update.feature.as_str();
        let level = update.max_version_level;
        let in_force = features
            .finalized
            .iter()
            .find(|feature| feature.name == name)
            .map_or(0, |feature| feature.level);
        let is_known = features
            .supported
            .iter()
            .any(|feature| feature.name == name);
        let refusal = (!is_known || level != in_force).then(|| {
            let reason = if is_known {
                format!("Its level is {in_force} while this server runs.")
            } else {
                format!(
                    "Local controller {} does not support this feature.",
                    nodes.controller_id()
                )
            };
            format!(
                "Invalid update version {level} for feature {}. {reason}",
                echo(name)
            )
        });
        if version >= ONE_RESULT_SINCE {
            if let Some(reason) = refusal {
                response.error_code = ErrorCode::InvalidUpdateVersion.code();
                response.error_message = Some(StrBytes::from(format!(
                    "The update failed for all features since the following feature had an error: {reason}"
                )));
                return response;
            }
            continue;
        }
        let mut result = UpdatableFeatureResult::default();
        result.feature = update.feature.clone();
        result.error_message = None;
        if let Some(reason) = refusal {
            result.error_code = ErrorCode::InvalidUpdateVersion.code();
            result.error_message = Some(StrBytes::from(reason));
        }
        response.results.push(result);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::test_support::nodes;
    use kafka_wire::update_features_request::FeatureUpdateKey;
    use kafka_wire_core::{ApiVersion, KafkaEncode};

    #[test]
    fn only_the_level_in_force_is_taken() {
        let features = ServerFeatures {
            supported: &[Feature {
                name: "group.version",
                level_min: 0,
                level_max: 1,
            }],
            finalized: &[FeatureLevel {
                name: "group.version",
                level: 1,
            }],
            finalized_epoch: 0,
        };
        let table = [
            ("group.version", 1, 0, ""),
            ("group.version", 0, 95, "Its level is 1"),
            (
                "kraft.version",
                1,
                95,
                "Local controller 1000 does not support",
            ),
        ];
        for (name, level, code, message) in table {
            let mut update_of = FeatureUpdateKey::default();
            update_of.feature = StrBytes::from(name);
            update_of.max_version_level = level;
            let mut request = UpdateFeaturesRequest::default();
            request.feature_updates = vec![update_of];
            for version in 0..=2 {
                let response = update(&request, version, &features, &nodes(1));
                let (got, text) = if version < ONE_RESULT_SINCE {
                    assert_eq!(response.error_code, 0);
                    let result = &response.results[0];
                    (result.error_code, result.error_message.clone())
                } else {
                    (response.error_code, response.error_message.clone())
                };
                assert_eq!(got, code, "{name} {level}");
                assert!(text.as_deref().unwrap_or_default().contains(message));
                response.encoded_len(ApiVersion::new(version)).unwrap();
            }
        }
        let none = UpdateFeaturesRequest::default();
        assert_eq!(update(&none, 2, &features, &nodes(1)).error_code, 42);
    }
}

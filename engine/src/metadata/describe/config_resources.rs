//! `ListConfigResources` (v0 and v1): what there are settings of.

use corelane_net::error_code::ErrorCode;
use kafka_wire::list_config_resources_response::ConfigResource;
use kafka_wire::{ListConfigResourcesRequest, ListConfigResourcesResponse};
use kafka_wire_core::StrBytes;

use crate::metadata::controller::alter_configs::{
    RESOURCE_BROKER, RESOURCE_BROKER_LOGGER, RESOURCE_GROUP, RESOURCE_TOPIC,
};
use crate::metadata::image::MetadataImage;
use crate::metadata::nodes::Nodes;

/// Kafka's number for subscriptions to clients' metrics: there are none. Version 0 asks for them alone.
const RESOURCE_CLIENT_METRICS: i8 = 16;

/// All kinds, as Kafka lists them.
const KINDS: [i8; 5] = [
    RESOURCE_TOPIC,
    RESOURCE_BROKER,
    RESOURCE_BROKER_LOGGER,
    RESOURCE_CLIENT_METRICS,
    RESOURCE_GROUP,
];

/// Answers a `ListConfigResources` request of this version.
pub fn list_config_resources(
    request: &ListConfigResourcesRequest,
    version: i16,
    image: &MetadataImage,
    nodes: &Nodes,
) -> ListConfigResourcesResponse {
    let mut response = ListConfigResourcesResponse::default();
    let asked = &request.resource_types;
    if version > 0 && asked.iter().any(|kind| !KINDS.contains(kind)) {
        response.error_code = ErrorCode::UnsupportedVersion.code();
        return response;
    }
    for kind in KINDS {
        if version == 0 || !(asked.is_empty() || asked.contains(&kind)) {
            continue;
        }
        let names: Vec<String> = match kind {
            RESOURCE_TOPIC => image.topics().map(|topic| topic.name.clone()).collect(),
            RESOURCE_BROKER | RESOURCE_BROKER_LOGGER => {
                nodes.nodes.iter().map(|node| node.id.to_string()).collect()
            }
            RESOURCE_GROUP => image.groups_with_configs().map(str::to_owned).collect(),
            _ => Vec::new(),
        };
        response.config_resources.extend(names.iter().map(|name| {
            let mut resource = ConfigResource::default();
            resource.resource_name = StrBytes::from(name.as_str());
            resource.resource_type = kind;
            resource
        }));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::record::MetadataRecord;
    use crate::metadata::test_support::{applied, image_of, nodes};
    use kafka_wire_core::{ApiVersion, KafkaEncode};

    #[test]
    fn resources_are_listed_by_kind() {
        type Case<'a> = (i16, &'a [i8], i16, &'a [(i8, &'a str)]);
        let table: [Case<'_>; 6] = [
            (0, &[], 0, &[]),
            (1, &[2], 0, &[(2, "a"), (2, "b")]),
            (1, &[4], 0, &[(4, "1000"), (4, "1001")]),
            (1, &[32, 16, 2], 0, &[(2, "a"), (2, "b"), (32, "g")]),
            (
                1,
                &[],
                0,
                &[
                    (2, "a"),
                    (2, "b"),
                    (4, "1000"),
                    (4, "1001"),
                    (8, "1000"),
                    (8, "1001"),
                    (32, "g"),
                ],
            ),
            (1, &[3], 35, &[]),
        ];
        let image = image_of(Some(2), &[("b", &[0]), ("a", &[1])]);
        let own = MetadataRecord::GroupConfig {
            group_id: "g".to_owned(),
            name: "consumer.session.timeout.ms".to_owned(),
            value: Some("50000".to_owned()),
        };
        let image = applied(&image, &[own]);
        for (version, kinds, code, expected) in table {
            let mut request = ListConfigResourcesRequest::default();
            request.resource_types = kinds.to_vec();
            let response = list_config_resources(&request, version, &image, &nodes(2));
            let got: Vec<_> = response
                .config_resources
                .iter()
                .map(|one| (one.resource_type, one.resource_name.as_str()))
                .collect();
            assert_eq!(
                (response.error_code, &got[..]),
                (code, expected),
                "{kinds:?}"
            );
            response.encoded_len(ApiVersion::new(version)).unwrap();
        }
    }
}

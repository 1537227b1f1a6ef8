//! Settings of single groups. A group need not exist to have some: they are there when it comes.

use corelane_net::error_code::ErrorCode;
use kafka_wire::incremental_alter_configs_request::AlterConfigsResource;

use super::alter_configs::changed;
use super::{Defaults, Rejection};
use crate::config::group_definitions;
use crate::metadata::image::MetadataImage;
use crate::metadata::record::MetadataRecord;

/// What the settings of all groups may take, by [`MetadataImage::group_configs_bytes`]: groups are named by clients, and
/// there is no end of names.
pub const GROUP_CONFIGS_BYTES_MAX: usize = 16 << 20;

/// Decides on the changes of one group's settings.
pub(super) fn alter_group(
    resource: &AlterConfigsResource,
    image: &MetadataImage,
    defaults: &Defaults,
) -> Result<Vec<MetadataRecord>, Rejection> {
    let group_id = resource.resource_name.as_str();
    if group_id.is_empty() {
        return Err(Rejection::invalid_request(
            "Default group resources are not allowed.",
        ));
    }
    let before = image.group_configs(group_id).cloned().unwrap_or_default();
    let mut after = before.clone();
    for config in &resource.configs {
        let definition = group_definitions::find(&config.name).map(|group| &group.definition);
        match changed(config, &before, definition, || None)? {
            Some(value) => after.insert(config.name.to_string(), value),
            None => after.remove(config.name.as_str()),
        };
    }
    group_definitions::validate(&after, &defaults.broker)?;
    let grows = after.len() > before.len();
    if grows && image.group_configs_bytes() >= GROUP_CONFIGS_BYTES_MAX {
        return Err(Rejection::new(
            ErrorCode::PolicyViolation,
            format!(
                "The settings of groups take {GROUP_CONFIGS_BYTES_MAX} bytes, which is all that they may."
            ),
        ));
    }
    let names = resource.configs.iter().map(|config| config.name.as_str());
    Ok(names
        .filter(|name| before.get(*name) != after.get(*name))
        .map(|name| MetadataRecord::GroupConfig {
            group_id: group_id.to_owned(),
            name: name.to_owned(),
            value: after.get(name).cloned(),
        })
        .collect())
}

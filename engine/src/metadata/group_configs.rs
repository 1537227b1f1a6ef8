//! Settings of single groups, whether the groups exist or not.

use std::collections::BTreeMap;

/// What a setting takes besides its texts.
const SETTING_BYTES: usize = 128;

/// All of them.
#[derive(Clone, Debug, Default)]
pub(super) struct GroupConfigs {
    by_group: BTreeMap<String, BTreeMap<String, String>>,
    size_bytes: usize,
}

impl GroupConfigs {
    /// Sets a setting, or takes it back.
    pub(super) fn put(&mut self, group_id: &str, name: &str, value: Option<&str>) {
        let size_bytes = |value: &str| group_id.len() + name.len() + value.len() + SETTING_BYTES;
        let configs = self.by_group.entry(group_id.to_owned()).or_default();
        if let Some(before) = configs.remove(name) {
            self.size_bytes -= size_bytes(&before);
        }
        if let Some(value) = value {
            self.size_bytes += size_bytes(value);
            configs.insert(name.to_owned(), value.to_owned());
        }
        if configs.is_empty() {
            self.by_group.remove(group_id);
        }
    }

    /// The settings of one group.
    pub(super) fn of(&self, group_id: &str) -> Option<&BTreeMap<String, String>> {
        self.by_group.get(group_id)
    }

    /// The groups that have any, in the order of their names.
    pub(super) fn groups(&self) -> impl Iterator<Item = &str> {
        self.by_group.keys().map(String::as_str)
    }

    /// What they take.
    pub(super) fn size_bytes(&self) -> usize {
        self.size_bytes
    }
}

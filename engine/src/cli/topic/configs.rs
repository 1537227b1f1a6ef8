//! A topic's settings as the command line gives them.

use corelane_engine::config::units::without_unit;

use crate::cli::key_value::KeyValue;

/// Settings by name, with units turned into the plain numbers that Kafka's settings take: `retention.ms=7d`.
///
/// # Errors
/// A number with something behind it that is no unit. Whether the setting exists is the server's to say.
pub(crate) fn plain(configs: &[KeyValue]) -> anyhow::Result<Vec<(String, String)>> {
    configs
        .iter()
        .map(|KeyValue { key, value }| {
            let value = without_unit(key, value)
                .map_err(|error| anyhow::anyhow!("cannot read {key}={value}: {error}"))?;
            Ok((key.clone(), value))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_turned_into_numbers_where_the_name_says_what_they_count() {
        let table = [
            ("retention.ms=7d", Some("604800000")),
            ("retention.ms=-1", Some("-1")),
            ("segment.bytes=64MiB", Some("67108864")),
            ("cleanup.policy=compact", Some("compact")),
            ("retention.ms=7x", None),
        ];
        for (text, expected) in table {
            let configs = [text.parse::<KeyValue>().unwrap()];
            let got = plain(&configs).ok().map(|mut pairs| pairs.remove(0).1);
            assert_eq!(got.as_deref(), expected, "{text}");
        }
    }
}

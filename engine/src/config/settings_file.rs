//! The configuration file: TOML, flattened into keys and texts.
//!
//! ```toml
//! data_dir = "/var/lib/corelane"
//! cores = "0-3"
//! num.partitions = 4            # a Kafka broker setting by its name; dots may be nested or quoted
//! "log.retention.ms" = "7d"
//! ```

use std::path::Path;

use toml::{Table, Value};

use super::settings_error::{Origin, SettingsError};

/// Reads a configuration file.
///
/// # Errors
/// The file cannot be read.
pub fn read(path: &Path) -> Result<String, SettingsError> {
    std::fs::read_to_string(path).map_err(|source| SettingsError::FileUnreadable {
        path: path.to_owned(),
        source,
    })
}

/// The settings in a file's text, as keys with dots and texts, in the order of the keys.
///
/// # Errors
/// The text is no TOML, or holds a value that no setting can have.
pub fn entries(path: &Path, text: &str) -> Result<Vec<(String, String)>, SettingsError> {
    let table: Table =
        text.parse()
            .map_err(|error: toml::de::Error| SettingsError::FileInvalid {
                path: path.to_owned(),
                reason: error.to_string(),
            })?;
    let mut entries = Vec::new();
    flatten(path, "", table, &mut entries)?;
    Ok(entries)
}

// The parser bounds the nesting of tables, and so the recursion here.
fn flatten(
    path: &Path,
    prefix: &str,
    table: Table,
    entries: &mut Vec<(String, String)>,
) -> Result<(), SettingsError> {
    for (name, value) in table {
        let key = if prefix.is_empty() {
            name
        } else {
            format!("{prefix}.{name}")
        };
        match value {
            Value::Table(inner) => flatten(path, &key, inner, entries)?,
            Value::Array(values) => {
                let texts = values
                    .into_iter()
                    .map(|value| scalar(path, &key, &value))
                    .collect::<Result<Vec<_>, _>>()?;
                entries.push((key, texts.join(",")));
            }
            value => {
                let text = scalar(path, &key, &value)?;
                entries.push((key, text));
            }
        }
    }
    Ok(())
}

fn scalar(path: &Path, key: &str, value: &Value) -> Result<String, SettingsError> {
    let refuse = |got: &'static str| {
        Err(SettingsError::ValueType {
            key: key.to_owned(),
            origin: Origin::File(path.to_owned()),
            got,
        })
    };
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Integer(number) => Ok(number.to_string()),
        Value::Float(number) => Ok(number.to_string()),
        Value::Boolean(value) => Ok(value.to_string()),
        Value::Datetime(_) => refuse("a date"),
        Value::Array(_) => refuse("a list in a list"),
        Value::Table(_) => refuse("a table in a list"),
    }
}

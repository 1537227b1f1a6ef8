//! Kafka's rules for topic names.

use thiserror::Error;

/// The longest topic name, in characters (all of them ASCII).
pub const TOPIC_NAME_LENGTH_MAX: usize = 249;

/// Kafka's internal topics.
const INTERNAL_TOPICS: [&str; 3] = [
    "__consumer_offsets",
    "__transaction_state",
    "__share_group_state",
];

/// The one name that nobody may create: it is what Kafka calls the metadata log.
pub const CLUSTER_METADATA_TOPIC: &str = "__cluster_metadata";

/// Why a text is no topic name, in Kafka's words.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum TopicNameError {
    /// Empty.
    #[error("Topic name is invalid: the empty string is not allowed")]
    Empty,
    /// `.` or `..`, which name directories.
    #[error("Topic name is invalid: '{name}' is not allowed")]
    Dots {
        /// The name.
        name: &'static str,
    },
    /// Longer than any name may be.
    #[error(
        "Topic name is invalid: the length of '{name}' is longer than the max allowed length {TOPIC_NAME_LENGTH_MAX}"
    )]
    TooLong {
        /// The name, cut.
        name: String,
    },
    /// A character that is not allowed.
    #[error(
        "Topic name is invalid: '{name}' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'"
    )]
    IllegalCharacter {
        /// The name.
        name: String,
    },
}

/// Checks a topic name.
///
/// # Errors
/// The name breaks one of Kafka's rules.
pub fn validate(name: &str) -> Result<(), TopicNameError> {
    match name {
        "" => Err(TopicNameError::Empty),
        "." => Err(TopicNameError::Dots { name: "." }),
        ".." => Err(TopicNameError::Dots { name: ".." }),
        // Java counts UTF-16 units; the difference only decides which of two refusals is given.
        _ if name.chars().count() > TOPIC_NAME_LENGTH_MAX => Err(TopicNameError::TooLong {
            name: crate::config::definition::echo(name),
        }),
        _ if name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-')) =>
        {
            Ok(())
        }
        _ => Err(TopicNameError::IllegalCharacter {
            name: name.to_owned(),
        }),
    }
}

/// Whether this is one of Kafka's internal topics.
pub fn is_internal(name: &str) -> bool {
    INTERNAL_TOPICS.contains(&name)
}

/// The name with '.' and '_' made equal, if it has either: two such names that are equal then collide in metrics.
pub fn unified(name: &str) -> Option<String> {
    name.contains(['.', '_']).then(|| name.replace('.', "_"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_are_accepted_and_refused_as_by_kafka() {
        let longest = "a".repeat(TOPIC_NAME_LENGTH_MAX);
        for name in [
            "a",
            "A.b_c-9",
            "...",
            "-",
            "__consumer_offsets",
            longest.as_str(),
        ] {
            assert_eq!(validate(name), Ok(()), "{name}");
        }
        let too_long = "a".repeat(TOPIC_NAME_LENGTH_MAX + 1);
        let table = [
            ("", "Topic name is invalid: the empty string is not allowed".to_owned()),
            (".", "Topic name is invalid: '.' is not allowed".to_owned()),
            ("..", "Topic name is invalid: '..' is not allowed".to_owned()),
            (
                too_long.as_str(),
                format!("Topic name is invalid: the length of '{too_long}' is longer than the max allowed length 249"),
            ),
            (
                "a b",
                "Topic name is invalid: 'a b' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'".to_owned(),
            ),
        ];
        for (name, message) in table {
            assert_eq!(
                validate(name).map_err(|error| error.to_string()),
                Err(message)
            );
        }
        for name in ["a/b", "a\0", "ä", "a\n", "../x", "a:b", "a,b"] {
            assert!(validate(name).is_err(), "{name:?}");
        }
    }

    #[test]
    fn only_names_with_dots_or_underscores_can_collide() {
        assert_eq!(unified("a-b"), None);
        assert_eq!(unified("a.b"), Some("a_b".to_owned()));
        assert_eq!(unified("a_b"), unified("a.b"));
    }

    proptest! {
        #[test]
        fn a_valid_name_is_a_harmless_file_name(name in ".{0,300}") {
            if validate(&name).is_ok() {
                prop_assert!(!name.contains(['/', '\0']) && name != "." && name != ".." && name.len() <= 249);
            }
        }
    }
}

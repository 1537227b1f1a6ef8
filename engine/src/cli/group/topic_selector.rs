//! `TOPIC` or `TOPIC:PARTITION,...` as options take it.

use std::str::FromStr;

use thiserror::Error;

/// A topic, and which of its partitions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TopicSelector {
    pub(super) topic: String,
    /// Ascending, each once; empty stands for all.
    pub(super) partitions: Vec<i32>,
}

/// A text that is neither.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("expected TOPIC or TOPIC:PARTITION[,PARTITION...], got {got:?}")]
pub(super) struct TopicSelectorError {
    got: String,
}

impl FromStr for TopicSelector {
    type Err = TopicSelectorError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refused = || TopicSelectorError {
            got: text.to_owned(),
        };
        let (topic, partitions) = match text.split_once(':') {
            None => (text, Vec::new()),
            Some((topic, list)) => {
                let number = |word: &str| {
                    let partition: i32 = word.trim().parse().map_err(|_| refused())?;
                    (partition >= 0).then_some(partition).ok_or_else(refused)
                };
                let mut partitions = list.split(',').map(number).collect::<Result<Vec<_>, _>>()?;
                partitions.sort_unstable();
                partitions.dedup();
                (topic, partitions)
            }
        };
        if topic.is_empty() {
            return Err(refused());
        }
        Ok(Self {
            topic: topic.to_owned(),
            partitions,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_stands_alone_or_before_its_partitions() {
        let selected = |topic: &str, partitions: &[i32]| {
            Some(TopicSelector {
                topic: topic.to_owned(),
                partitions: partitions.to_vec(),
            })
        };
        let table = [
            ("t", selected("t", &[])),
            ("t:3", selected("t", &[3])),
            ("t:2,0, 2", selected("t", &[0, 2])),
            ("", None),
            (":1", None),
            ("t:", None),
            ("t:-1", None),
            ("t:1-3", None),
            ("t:99999999999", None),
        ];
        for (text, expected) in table {
            let got = text.parse::<TopicSelector>().ok();
            assert_eq!(got, expected, "{text:?}");
        }
    }
}

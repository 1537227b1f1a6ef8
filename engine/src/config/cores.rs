//! Lists of CPU numbers as Linux writes them: `0,2-5`.

use thiserror::Error;

/// The highest CPU number that is accepted; Linux supports fewer.
const CORE_NUMBER_MAX: usize = 8_191;
/// How many cores a server can have: node ids are `server_id * 1000 + lane`.
pub const CORES_MAX: usize = 1_000;

/// Why a text is no list of cores.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum CoresError {
    /// Nothing in it.
    #[error("name at least one core, as in `0,2-5`")]
    Empty,
    /// Neither a number nor a range.
    #[error("{got:?} is neither a core nor a range of cores, as in `0,2-5`")]
    NotACore {
        /// The element, cut.
        got: String,
    },
    /// A range that ends before it begins.
    #[error("the range {first}-{last} ends before it begins")]
    Backwards {
        /// Its first core.
        first: usize,
        /// Its last core.
        last: usize,
    },
    /// No machine has such a core.
    #[error("there is no core {got}: the highest possible is {CORE_NUMBER_MAX}")]
    NumberTooHigh {
        /// The core.
        got: usize,
    },
    /// A core named twice.
    #[error("core {core} is named twice; one core can have one lane only")]
    Repeated {
        /// The core.
        core: usize,
    },
    /// More cores than a server can have.
    #[error("more than {CORES_MAX} cores")]
    TooMany,
}

/// Parses a list of cores. The order given is the order of the lanes.
///
/// # Errors
/// The text is no such list, or names a core twice.
pub fn parse_cores(text: &str) -> Result<Vec<usize>, CoresError> {
    let mut cores = Vec::new();
    for element in text
        .split(',')
        .map(str::trim)
        .filter(|element| !element.is_empty())
    {
        let (first, last) = match element.split_once('-') {
            None => (
                core_number(element, element)?,
                core_number(element, element)?,
            ),
            Some((first, last)) => (core_number(first, element)?, core_number(last, element)?),
        };
        if last < first {
            return Err(CoresError::Backwards { first, last });
        }
        for core in first..=last {
            if cores.contains(&core) {
                return Err(CoresError::Repeated { core });
            }
            if cores.len() == CORES_MAX {
                return Err(CoresError::TooMany);
            }
            cores.push(core);
        }
    }
    if cores.is_empty() {
        Err(CoresError::Empty)
    } else {
        Ok(cores)
    }
}

/// Writes a list of cores the way it is parsed, with ranges.
pub fn show_cores(cores: &[usize]) -> String {
    let mut parts: Vec<String> = Vec::new();
    let mut rest = cores;
    while let Some(first) = rest.first() {
        let length = rest
            .iter()
            .zip(*first..)
            .take_while(|(core, expected)| *core == expected)
            .count();
        parts.push(match length {
            1 => first.to_string(),
            _ => format!("{first}-{}", first + length - 1),
        });
        rest = &rest[length..];
    }
    parts.join(",")
}

fn core_number(text: &str, element: &str) -> Result<usize, CoresError> {
    let number = text
        .trim()
        .parse::<usize>()
        .map_err(|_| CoresError::NotACore {
            got: super::definition::echo(element),
        })?;
    if number > CORE_NUMBER_MAX {
        Err(CoresError::NumberTooHigh { got: number })
    } else {
        Ok(number)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn lists_of_cores_are_read_and_written() {
        for (text, cores, written) in [
            ("0", vec![0], "0"),
            ("0,2-5", vec![0, 2, 3, 4, 5], "0,2-5"),
            (" 3 , 1 ", vec![3, 1], "3,1"),
            ("7-7", vec![7], "7"),
            ("0-1,2", vec![0, 1, 2], "0-2"),
            ("1,", vec![1], "1"),
        ] {
            assert_eq!(parse_cores(text), Ok(cores.clone()), "{text}");
            assert_eq!(show_cores(&cores), written);
        }
    }

    #[test]
    fn what_is_no_list_is_refused_with_the_reason() {
        for (text, error) in [
            ("", CoresError::Empty),
            (" , ", CoresError::Empty),
            ("all", CoresError::NotACore { got: "all".into() }),
            (
                "1-2-3",
                CoresError::NotACore {
                    got: "1-2-3".into(),
                },
            ),
            ("-1", CoresError::NotACore { got: "-1".into() }),
            ("5-2", CoresError::Backwards { first: 5, last: 2 }),
            ("1,0-3", CoresError::Repeated { core: 1 }),
            ("99999", CoresError::NumberTooHigh { got: 99_999 }),
            ("0-1000", CoresError::TooMany),
        ] {
            assert_eq!(parse_cores(text), Err(error), "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(cores in proptest::collection::btree_set(0..200_usize, 1..60)) {
            let cores: Vec<usize> = cores.into_iter().collect();
            prop_assert_eq!(parse_cores(&show_cores(&cores)), Ok(cores));
        }

        #[test]
        fn no_text_makes_the_parser_panic(text in "[-0-9, a]{0,30}") {
            let _ = parse_cores(&text);
        }
    }
}

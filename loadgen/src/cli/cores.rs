//! Core lists (`0,2-5`), and which cores the server and the generator get.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// The highest core number taken seriously.
const CORE_MAX: usize = 4095;

/// Why a core list was refused.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum CoreListError {
    /// Not a number, or not a range of two.
    #[error("{got:?} is no core and no range of cores; write for instance 0,2-5")]
    Unreadable {
        /// The part that could not be read.
        got: String,
    },
    /// A range that runs backwards.
    #[error("the range {got:?} ends before it starts")]
    Backwards {
        /// The range.
        got: String,
    },
    /// A core number no machine has.
    #[error("core {got} is beyond {CORE_MAX}")]
    TooLarge {
        /// The number.
        got: usize,
    },
}

/// A set of cores, ascending and never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CoreList(Vec<usize>);

impl CoreList {
    /// From any cores; `None` when there are none.
    pub fn new(cores: impl IntoIterator<Item = usize>) -> Option<Self> {
        let cores: BTreeSet<usize> = cores.into_iter().collect();
        if cores.is_empty() {
            None
        } else {
            Some(Self(cores.into_iter().collect()))
        }
    }

    /// The cores, ascending.
    pub fn as_slice(&self) -> &[usize] {
        &self.0
    }

    /// How many there are; at least one.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// The cores of this list that `other` has too.
    pub fn shared_with(&self, other: &CoreList) -> Vec<usize> {
        self.0
            .iter()
            .copied()
            .filter(|core| other.0.contains(core))
            .collect()
    }

    /// The server's half and the generator's half: the first half (rounded up) serves. With one core they share it.
    pub fn halves(&self) -> (CoreList, CoreList) {
        match self.0.as_slice() {
            [only] => (Self(vec![*only]), Self(vec![*only])),
            cores => {
                let (server, load) = cores.split_at(cores.len().div_ceil(2));
                (Self(server.to_vec()), Self(load.to_vec()))
            }
        }
    }
}

impl FromStr for CoreList {
    type Err = CoreListError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let number = |text: &str, part: &str| -> Result<usize, CoreListError> {
            let core = text
                .trim()
                .parse::<usize>()
                .map_err(|_| CoreListError::Unreadable {
                    got: part.to_owned(),
                })?;
            if core > CORE_MAX {
                Err(CoreListError::TooLarge { got: core })
            } else {
                Ok(core)
            }
        };
        let mut cores = BTreeSet::new();
        for part in text.trim().split(',').map(str::trim) {
            if let Some((first, last)) = part.split_once('-') {
                let (first, last) = (number(first, part)?, number(last, part)?);
                if last < first {
                    return Err(CoreListError::Backwards {
                        got: part.to_owned(),
                    });
                }
                cores.extend(first..=last);
            } else {
                cores.insert(number(part, part)?);
            }
        }
        Ok(Self(cores.into_iter().collect()))
    }
}

impl fmt::Display for CoreList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0.as_slice();
        let mut separator = "";
        while let Some((&first, _)) = rest.split_first() {
            let run = rest
                .iter()
                .enumerate()
                .take_while(|(i, core)| **core == first + i)
                .count();
            let last = first + run - 1;
            if run == 1 {
                write!(f, "{separator}{first}")?;
            } else {
                write!(f, "{separator}{first}-{last}")?;
            }
            separator = ",";
            rest = &rest[run..];
        }
        Ok(())
    }
}

/// The cores this process may run on, from the text of `/proc/self/status`.
pub fn allowed_in_status(status: &str) -> Option<CoreList> {
    status
        .lines()
        .find_map(|line| line.strip_prefix("Cpus_allowed_list:"))?
        .parse()
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists() {
        let table = "
            0        | 0
            0,2-5    | 0,2-5
            3,1,2    | 1-3
            0-1,1-2  | 0-2
            5-3      | the range \"5-3\" ends before it starts
            a        | \"a\" is no core and no range of cores; write for instance 0,2-5
            1,,2     | \"\" is no core and no range of cores; write for instance 0,2-5
            99999    | core 99999 is beyond 4095
        ";
        for line in table.lines().filter(|line| line.contains('|')) {
            let (given, expected) = line.split_once('|').unwrap();
            let got = given
                .parse::<CoreList>()
                .map_or_else(|error| error.to_string(), |list| list.to_string());
            assert_eq!(got, expected.trim(), "for {given:?}");
        }
    }

    #[test]
    fn halves_give_the_server_the_first() {
        for (all, server, load) in [
            ("0", "0", "0"),
            ("0-1", "0", "1"),
            ("0-2", "0-1", "2"),
            ("2-9", "2-5", "6-9"),
        ] {
            let (got_server, got_load) = all.parse::<CoreList>().unwrap().halves();
            assert_eq!(
                (
                    got_server.to_string().as_str(),
                    got_load.to_string().as_str()
                ),
                (server, load)
            );
        }
    }

    #[test]
    fn the_kernel_says_which_cores_are_allowed() {
        let status = "Name:\tx\nCpus_allowed:\tf\nCpus_allowed_list:\t0-3,8\nMems_allowed:\t1\n";
        assert_eq!(allowed_in_status(status).unwrap().to_string(), "0-3,8");
        assert_eq!(allowed_in_status("Name: x"), None);
    }
}

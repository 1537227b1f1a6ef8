//! Which cores this process may run on. Reads `/proc`; called before the lanes start.

use std::io;

use super::cores::parse_cores;

/// The cores that the process may run on, in ascending order: its affinity mask, which containers and `taskset` narrow.
///
/// # Errors
/// `/proc` is not mounted, or not Linux's.
pub fn process_cores() -> io::Result<Vec<usize>> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    allowed_cores(&status).ok_or_else(|| {
        io::Error::new(
            io::ErrorKind::InvalidData,
            "/proc/self/status names no allowed cores",
        )
    })
}

/// Finds the list of allowed cores in the text of `/proc/self/status`.
pub fn allowed_cores(status: &str) -> Option<Vec<usize>> {
    let list = status
        .lines()
        .find_map(|line| line.strip_prefix("Cpus_allowed_list:"))?;
    parse_cores(list).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mask_is_found_among_the_other_lines() {
        let status =
            "Name:\tcorelane\nCpus_allowed:\t2d\nCpus_allowed_list:\t0,2-3,5\nMems_allowed:\t1\n";
        assert_eq!(allowed_cores(status), Some(vec![0, 2, 3, 5]));
        assert_eq!(allowed_cores("Name:\tcorelane\n"), None);
    }

    #[test]
    fn this_process_may_run_somewhere() {
        assert!(!process_cores().unwrap().is_empty());
    }
}

//! Facts about the machine that a result cannot be read without.

use serde::Serialize;

/// The machine.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Host {
    /// The kernel's release.
    pub kernel: Option<String>,
    /// The processor's name.
    pub processor: Option<String>,
    /// Cores the system has on line.
    pub cores: usize,
    /// Memory.
    pub memory_bytes: Option<u64>,
    /// The processor's frequency governor, where it has one.
    pub governor: Option<String>,
}

impl Host {
    /// What the kernel says.
    pub fn look() -> Self {
        let read = |path: &str| std::fs::read_to_string(path).ok();
        let line = |path: &str| Some(read(path)?.trim().to_owned());
        let processors = read("/proc/cpuinfo").unwrap_or_default();
        let memory = read("/proc/meminfo").unwrap_or_default();
        Self {
            kernel: line("/proc/sys/kernel/osrelease"),
            processor: field(&processors, "model name").map(str::to_owned),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            memory_bytes: memory_bytes(&memory),
            governor: line("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        }
    }
}

/// The first field of that name in the kernel's `name : value` lines.
fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(key, _)| key.trim() == name)
        .map(|(_, value)| value.trim())
}

fn memory_bytes(text: &str) -> Option<u64> {
    let kibibytes = field(text, "MemTotal")?.strip_suffix("kB")?.trim();
    Some(kibibytes.parse::<u64>().ok()? * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_the_kernels_files() {
        let processors = "processor\t: 0\nmodel name\t: Some CPU @ 3.00GHz\nprocessor\t: 1\n";
        assert_eq!(field(processors, "model name"), Some("Some CPU @ 3.00GHz"));
        assert_eq!(field(processors, "flags"), None);
        assert_eq!(memory_bytes("MemTotal:       2048 kB\n"), Some(2_097_152));
        assert_eq!(memory_bytes("MemTotal: much\n"), None);
    }

    #[test]
    fn this_machine_has_a_kernel() {
        let host = Host::look();
        assert!(host.kernel.is_some() && host.cores > 0 && host.memory_bytes.is_some());
    }
}

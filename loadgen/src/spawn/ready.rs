//! The line by which a server says that it serves.

/// The bootstrap addresses of a `ready` line: every `HOST:PORT` in it, in order. `None` if it is another line, or
/// names no address.
pub fn ready_addresses(line: &str) -> Option<Vec<String>> {
    let rest = line.trim_start().strip_prefix("ready")?;
    if !rest.starts_with(|c: char| c.is_whitespace() || c == ':') {
        return None;
    }
    let addresses: Vec<String> = rest
        .split(|c: char| c.is_whitespace() || c == ',' || c == '=')
        .filter(|word| is_address(word))
        .map(str::to_owned)
        .collect();
    if addresses.is_empty() {
        None
    } else {
        Some(addresses)
    }
}

fn is_address(word: &str) -> bool {
    word.rsplit_once(':').is_some_and(|(host, port)| {
        !host.is_empty() && !host.contains('/') && port.parse::<u16>().is_ok_and(|port| port != 0)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines() {
        let table = "
            ready 127.0.0.1:9092                                  > 127.0.0.1:9092
            ready 127.0.0.1:9092,127.0.0.1:9093                   > 127.0.0.1:9092 127.0.0.1:9093
            ready bootstrap=localhost:9092,localhost:9093 pid=5   > localhost:9092 localhost:9093
            ready [::1]:9092                                      > [::1]:9092
            ready                                                 > none
            ready soon                                            > none
            readyish 127.0.0.1:1                                  > none
            not ready 127.0.0.1:1                                 > none
            ready 127.0.0.1:0                                     > none
        ";
        for line in table.lines().filter(|line| line.contains('>')) {
            let (given, expected) = line.split_once('>').unwrap();
            let got = ready_addresses(given.trim())
                .map_or_else(|| "none".to_owned(), |all| all.join(" "));
            assert_eq!(got, expected.trim(), "for {given:?}");
        }
    }
}

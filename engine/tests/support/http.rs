//! The admin listener, as a monitoring system asks it.

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::Duration,
};

/// Only ends a test that would hang.
const DEADLINE: Duration = Duration::from_secs(30);

/// Status and body of a GET.
pub(crate) fn get(address: &str, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address)
        .unwrap_or_else(|error| panic!("cannot connect to {address}: {error}"));
    stream
        .set_read_timeout(Some(DEADLINE))
        .expect("a timeout can be set");
    let request = format!("GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
    (status.expect("a status"), body.to_owned())
}

/// The value of a metric, summed over its labels.
pub(crate) fn metric(address: &str, name: &str) -> u64 {
    let (status, body) = get(address, "/metrics");
    assert_eq!(status, 200, "{body}");
    let values: Vec<u64> = body
        .lines()
        .filter_map(|line| line.strip_prefix(name))
        .filter(|rest| rest.starts_with(['{', ' ']))
        .filter_map(|rest| rest.rsplit_once(' ')?.1.parse().ok())
        .collect();
    assert!(!values.is_empty(), "there is no {name} in\n{body}");
    values.iter().sum()
}

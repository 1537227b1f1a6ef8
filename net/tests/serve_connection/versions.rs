//! The client's first exchange with the server: a broker that knows the client's version, and one that does not.

use std::time::Duration;

use corelane_net::api::{self, RequestHeader, ServerFeatures, answer_api_versions};
use corelane_net::client::{CallError, ConnectOptions, Connection, SendError};
use corelane_net::server::{CloseReason, ConnectionLimits, Pending};
use kafka_wire::{FindCoordinatorRequest, SaslHandshakeRequest};

use crate::support::{TestService, run, serve};

fn broker(frame: &[u8]) -> Pending<Vec<u8>> {
    let (header, body) = match RequestHeader::parse(frame) {
        Ok(parsed) => parsed,
        Err(error) => return Pending::Close(CloseReason::Header(error)),
    };
    match answer_api_versions(&header, body, &ServerFeatures::default()) {
        Ok(response) => Pending::Ready(response),
        Err(error) => Pending::Close(CloseReason::Service(error.to_string())),
    }
}

#[test]
fn the_client_learns_every_range() {
    run(|| async {
        let service = TestService::new(|_, frame| broker(frame));
        let server = serve(&service, ConnectionLimits::default());
        let mut connection = Connection::connect(&server.address, &ConnectOptions::new("test"))
            .await
            .unwrap();
        for api in api::supported_apis() {
            assert_eq!(
                connection.ranges().range(api.key),
                Some((api.version_min, api.version_max))
            );
        }
        assert_eq!(
            connection
                .ranges()
                .common::<FindCoordinatorRequest>()
                .unwrap(),
            6
        );
        let error = connection
            .call(&SaslHandshakeRequest::default(), Duration::from_secs(1))
            .await
            .unwrap_err();
        assert!(matches!(
            error,
            CallError::Send(SendError::NoCommonVersion {
                api_key: 17,
                broker: None,
                ..
            })
        ));
        assert!(!connection.is_broken());
    });
}

#[test]
fn a_broker_that_knows_only_old_versions_is_asked_again() {
    run(|| async {
        let service = TestService::new(|_, frame| {
            let mut frame = frame.to_vec();
            // A broker whose newest version is 2 refuses 4 in version 0.
            let version = i16::from_be_bytes([frame[2], frame[3]]);
            if version > 2 {
                frame[3] = 90;
                let Pending::Ready(refusal) = broker(&frame) else {
                    panic!("a refusal is an answer")
                };
                let mut bytes = refusal.to_vec();
                // ... and says that 2 is its newest: the last field of its only row.
                let last = bytes.len();
                bytes[last - 2..].copy_from_slice(&2_i16.to_be_bytes());
                let mut builder = corelane_net::response::ResponseBuilder::new(
                    i32::from_be_bytes(bytes[4..8].try_into().unwrap()),
                    false,
                    0,
                );
                builder.bytes_mut().extend_from_slice(&bytes[8..]);
                return Pending::Ready(builder.finish());
            }
            assert_eq!(version, 2);
            broker(&frame)
        });
        let server = serve(&service, ConnectionLimits::default());
        let connection = Connection::connect(&server.address, &ConnectOptions::new("test"))
            .await
            .unwrap();
        assert!(connection.ranges().range(api::FETCH).is_some());
    });
}

#[test]
fn a_broker_that_does_not_answer_costs_the_timeout_only() {
    run(|| async {
        let service = TestService::new(|_, _| Pending::NoResponse);
        let server = serve(&service, ConnectionLimits::default());
        let mut options = ConnectOptions::new("test");
        options.timeout = Duration::from_millis(30);
        let error = Connection::connect(&server.address, &options)
            .await
            .map(|_| ())
            .unwrap_err();
        assert!(error.to_string().contains("no response within"), "{error}");
    });
}

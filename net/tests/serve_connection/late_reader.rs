//! A client that sends everything before it reads anything is served, and so is one that never stops for the
//! other direction.

use std::rc::Rc;

use corelane_net::response::LENGTH_PREFIX_BYTES;
use corelane_net::server::{ConnectionLimits, Pending};
use futures_lite::future::zip;
use futures_lite::io::{AsyncReadExt, AsyncWriteExt, split};

use crate::support::{
    TestService, correlation_id, frame, read_response, response, run, serve, write,
};

#[test]
fn a_hundred_large_requests_are_taken_before_the_first_response_is_read() {
    run(|| async {
        let service = TestService::new(|_, frame| {
            Pending::Ready(response(correlation_id(frame), vec![7; 60]))
        });
        let limits = ConnectionLimits {
            requests_in_flight_max: 8,
            ..ConnectionLimits::default()
        };
        let server = serve(&service, limits);
        let mut stream = server.connect().await;
        for id in 0..100 {
            write(&mut stream, &frame(id, &vec![1; 64 * 1024])).await;
        }
        for id in 0..100 {
            assert_eq!(read_response(&mut stream).await.unwrap().0, id);
        }
    });
}

#[test]
fn both_directions_carry_more_than_the_sockets_hold() {
    const COUNT: i32 = 200;
    const BODY: usize = 100_000;
    run(|| async {
        let service = TestService::new(|_, frame| {
            let id = correlation_id(frame);
            Pending::Later(Box::pin(
                async move { Ok(response(id, vec![id as u8; BODY])) },
            ))
        });
        let limits = ConnectionLimits {
            requests_in_flight_max: 4,
            response_bytes_queued_max: 150_000,
            ..ConnectionLimits::default()
        };
        let server = serve(&service, limits);
        let (mut reader, mut writer) = split(server.connect().await);
        let send = async {
            for id in 0..COUNT {
                writer
                    .write_all(&frame(id, &vec![id as u8; BODY]))
                    .await
                    .unwrap();
            }
        };
        let receive = async {
            for id in 0..COUNT {
                let mut bytes = vec![0; LENGTH_PREFIX_BYTES + 4 + BODY];
                reader.read_exact(&mut bytes).await.unwrap();
                assert_eq!(bytes[4..8], id.to_be_bytes());
                assert!(bytes[8..].iter().all(|byte| *byte == id as u8));
            }
        };
        zip(send, receive).await;
        assert_eq!(Rc::strong_count(&service), 3);
    });
}

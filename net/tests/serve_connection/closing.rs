//! What ends a connection ends that one only, with its reason.

use std::time::Duration;

use corelane_net::frame::{FrameError, FrameLimits};
use corelane_net::server::{CloseReason, ConnectionLimits, Pending};

use crate::support::{
    Server, TestService, correlation_id, frame, read_response, response, run, serve, write,
};

fn echo(limits: ConnectionLimits) -> Server {
    let service = TestService::new(|_, frame| {
        let id = correlation_id(frame);
        match frame.get(8) {
            Some(b'x') => Pending::Close(CloseReason::Service("asked to".into())),
            Some(b'e') => Pending::Later(Box::pin(async move {
                Err(CloseReason::Service("failed".into()))
            })),
            _ => Pending::Ready(response(id, Vec::new())),
        }
    });
    serve(&service, limits)
}

#[test]
fn a_bad_length_closes_its_connection_and_no_other() {
    run(|| async {
        let limits = ConnectionLimits {
            frame: FrameLimits {
                frame_bytes_max: 1_000,
                ..FrameLimits::default()
            },
            ..ConnectionLimits::default()
        };
        let server = echo(limits);
        let mut sound = server.connect().await;
        write(&mut sound, &frame(1, b"")).await;
        assert_eq!(read_response(&mut sound).await.unwrap().0, 1);
        for length in [-1_i32, 3, 1_001, i32::MAX] {
            let mut bad = server.connect().await;
            write(
                &mut bad,
                &[&frame(7, b"")[..], &length.to_be_bytes()].concat(),
            )
            .await;
            // What came before the bad length is answered.
            assert_eq!(read_response(&mut bad).await.unwrap().0, 7);
            assert!(read_response(&mut bad).await.is_none());
        }
        server.ended(4).await;
        assert!(matches!(
            server.closed.borrow()[..],
            [
                CloseReason::Frame(FrameError::Negative { got: -1 }),
                CloseReason::Frame(FrameError::TooSmall { got: 3, .. }),
                CloseReason::Frame(FrameError::TooLarge {
                    got: 1_001,
                    limit: 1_000
                }),
                CloseReason::Frame(FrameError::TooLarge { .. }),
            ]
        ));
        write(&mut sound, &frame(2, b"")).await;
        assert_eq!(read_response(&mut sound).await.unwrap().0, 2);
    });
}

#[test]
fn the_service_closes_after_the_responses_before() {
    run(|| async {
        let server = echo(ConnectionLimits::default());
        for (letter, words) in [(b"x", "asked to"), (b"e", "failed")] {
            let mut stream = server.connect().await;
            write(
                &mut stream,
                &[frame(1, b""), frame(2, letter), frame(3, b"")].concat(),
            )
            .await;
            assert_eq!(read_response(&mut stream).await.unwrap().0, 1);
            assert!(read_response(&mut stream).await.is_none());
            server.ended(1).await;
            assert_eq!(server.closed.borrow_mut().remove(0).to_string(), words);
        }
    });
}

#[test]
fn the_peer_closes_between_or_inside_frames() {
    run(|| async {
        let server = echo(ConnectionLimits::default());
        drop(server.connect().await);
        server.ended(1).await;
        let mut stream = server.connect().await;
        write(&mut stream, &frame(1, b"whole")[..10]).await;
        drop(stream);
        server.ended(2).await;
        assert!(matches!(
            server.closed.borrow()[..],
            [
                CloseReason::PeerClosed,
                CloseReason::PeerClosedInFrame { held: 10 }
            ]
        ));
    });
}

#[test]
fn a_frame_that_never_ends_and_a_quiet_connection_are_closed() {
    run(|| async {
        let limits = ConnectionLimits {
            frame_deadline_ms: 40,
            idle_ms_max: 120,
            ..ConnectionLimits::default()
        };
        let server = echo(limits);
        let mut stream = server.connect().await;
        write(&mut stream, &frame(1, b"")).await;
        write(&mut stream, &frame(2, b"whole")[..10]).await;
        assert_eq!(read_response(&mut stream).await.unwrap().0, 1);
        assert!(read_response(&mut stream).await.is_none());
        server.ended(1).await;
        let mut quiet = server.connect().await;
        write(&mut quiet, &frame(1, b"")).await;
        assert_eq!(read_response(&mut quiet).await.unwrap().0, 1);
        assert!(read_response(&mut quiet).await.is_none());
        server.ended(2).await;
        assert!(matches!(
            server.closed.borrow()[..],
            [
                CloseReason::FrameDeadline { limit_ms: 40 },
                CloseReason::Idle { limit_ms: 120 }
            ]
        ));
    });
}

#[test]
fn a_connection_that_waits_for_the_service_is_not_idle() {
    run(|| async {
        let service = TestService::new(|_, frame| {
            let id = correlation_id(frame);
            Pending::Later(Box::pin(async move {
                glommio::timer::sleep(Duration::from_millis(150)).await;
                Ok(response(id, Vec::new()))
            }))
        });
        let limits = ConnectionLimits {
            frame_deadline_ms: 20,
            idle_ms_max: 40,
            ..ConnectionLimits::default()
        };
        let server = serve(&service, limits);
        let mut stream = server.connect().await;
        write(&mut stream, &frame(1, b"")).await;
        assert_eq!(read_response(&mut stream).await.unwrap().0, 1);
    });
}

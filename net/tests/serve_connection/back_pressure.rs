//! At its bounds a connection stops reading, and only reading.

use std::cell::Cell;
use std::rc::Rc;

use corelane_net::server::{ConnectionLimits, Pending};

use crate::support::{
    Gate, TestService, correlation_id, frame, read_response, response, run, serve, write,
};

#[test]
fn no_more_requests_are_in_flight_than_allowed() {
    run(|| async {
        let in_flight = Rc::new(Cell::new(0_usize));
        let most = Rc::new(Cell::new(0_usize));
        let (count, high) = (Rc::clone(&in_flight), Rc::clone(&most));
        let answer = Gate::default();
        let gate = answer.clone();
        let service = TestService::new(move |_, frame| {
            let id = correlation_id(frame);
            count.set(count.get() + 1);
            high.set(high.get().max(count.get()));
            let (count, gate) = (Rc::clone(&count), gate.clone());
            Pending::Later(Box::pin(async move {
                gate.passed().await;
                count.set(count.get() - 1);
                Ok(response(id, vec![0; 10]))
            }))
        });
        let limits = ConnectionLimits {
            requests_in_flight_max: 5,
            ..ConnectionLimits::default()
        };
        let server = serve(&service, limits);
        let mut stream = server.connect().await;
        let requests: Vec<u8> = (0..300).flat_map(|id| frame(id, &[0; 20])).collect();
        write(&mut stream, &requests).await;
        while in_flight.get() < 5 {
            glommio::timer::sleep(std::time::Duration::from_micros(100)).await;
        }
        for _ in 0..20 {
            glommio::executor().yield_task_queue_now().await;
        }
        answer.open();
        for id in 0..300 {
            assert_eq!(read_response(&mut stream).await.unwrap().0, id);
        }
        assert_eq!(most.get(), 5);
    });
}

#[test]
fn responses_flow_while_a_frame_waits_for_admission() {
    run(|| async {
        let answer = Gate::default();
        let first_answer = answer.clone();
        let service = TestService::new(move |_, frame| {
            let id = correlation_id(frame);
            let gate = first_answer.clone();
            Pending::Later(Box::pin(async move {
                gate.passed().await;
                Ok(response(id, Vec::new()))
            }))
        });
        let server = serve(&service, ConnectionLimits::default());
        let mut stream = server.connect().await;
        write(&mut stream, &frame(0, b"")).await;
        while service.turns.get() < 1 {
            glommio::executor().yield_task_queue_now().await;
        }
        let admission = Gate::default();
        *service.admission.borrow_mut() = Some(admission.clone());
        write(&mut stream, &frame(1, b"")).await;
        while service.asked.get() < 2 {
            glommio::timer::sleep(std::time::Duration::from_micros(100)).await;
        }
        assert_eq!(service.last_asked.get(), (18, 8));
        // The second frame waits, and the first one's response must come all the same.
        answer.open();
        assert_eq!(read_response(&mut stream).await.unwrap().0, 0);
        assert!(!admission.is_open());
        admission.open();
        assert_eq!(read_response(&mut stream).await.unwrap().0, 1);
    });
}

#[test]
fn responses_that_nobody_reads_are_not_made() {
    const COUNT: i32 = 128;
    const BODY: usize = 1 << 20;
    run(|| async {
        for at_once in [true, false] {
            let made = Rc::new(Cell::new(0));
            let taken = Rc::new(Cell::new(0));
            let answer = Gate::default();
            let (count, calls, gate) = (Rc::clone(&made), Rc::clone(&taken), answer.clone());
            let service = TestService::new(move |_, frame| {
                let id = correlation_id(frame);
                calls.set(calls.get() + 1);
                let (count, gate) = (Rc::clone(&count), gate.clone());
                Pending::Later(Box::pin(async move {
                    gate.passed().await;
                    count.set(count.get() + 1);
                    Ok(response(id, vec![id as u8; BODY]))
                }))
            });
            let limits = ConnectionLimits {
                response_bytes_queued_max: 2 * BODY,
                ..ConnectionLimits::default()
            };
            let server = serve(&service, limits);
            let mut stream = server.connect().await;
            if at_once {
                answer.open();
            }
            let requests: Vec<u8> = (0..COUNT).flat_map(|id| frame(id, b"")).collect();
            write(&mut stream, &requests).await;
            while taken.get() < if at_once { 1 } else { COUNT } {
                glommio::timer::sleep(std::time::Duration::from_micros(100)).await;
            }
            answer.open();
            while made.get() < 2 {
                glommio::timer::sleep(std::time::Duration::from_micros(100)).await;
            }
            for _ in 0..100 {
                glommio::executor().yield_task_queue_now().await;
            }
            // The sockets hold a few more.
            assert!(made.get() < COUNT / 2, "{} made", made.get());
            for id in 0..COUNT {
                let (got, body) = read_response(&mut stream).await.unwrap();
                assert_eq!((got, body.len()), (id, BODY));
                assert!(body.iter().all(|byte| *byte == id as u8));
            }
        }
    });
}

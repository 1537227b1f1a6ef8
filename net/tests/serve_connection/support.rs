//! An executor, a service made of a closure, and a raw socket to talk to it.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::Duration;

use corelane_net::response::{Response, ResponseBuilder};
use corelane_net::server::{
    CloseReason, ConnectionInfo, ConnectionLimits, Pending, Service, serve_connection,
};
use futures_lite::future::poll_fn;
use futures_lite::io::{AsyncReadExt, AsyncWriteExt};
use glommio::net::{TcpListener, TcpStream};
use glommio::{Latency, LocalExecutorBuilder, Placement, Shares};

/// Runs a test on an executor of its own, in a queue whose I/O is not held back by other tasks.
pub(crate) fn run<F: Future<Output = ()> + 'static>(test: impl FnOnce() -> F + Send + 'static) {
    let executor = LocalExecutorBuilder::new(Placement::Unbound)
        .io_memory(1 << 20)
        .spawn(|| async move {
            let latency = Latency::Matters(Duration::from_millis(100));
            let queue = glommio::executor().create_task_queue(Shares::default(), latency, "test");
            glommio::spawn_local_into(test(), queue).unwrap().await;
        });
    executor.unwrap().join().unwrap();
}

/// Something that happens once, and those who wait for it.
#[derive(Clone, Default)]
pub(crate) struct Gate(Rc<(Cell<bool>, RefCell<Vec<Waker>>)>);

impl Gate {
    pub(crate) fn open(&self) {
        self.0.0.set(true);
        let wakers: Vec<Waker> = self.0.1.borrow_mut().drain(..).collect();
        wakers.into_iter().for_each(Waker::wake);
    }

    pub(crate) fn is_open(&self) -> bool {
        self.0.0.get()
    }

    pub(crate) async fn passed(self) {
        poll_fn(|context| {
            if self.is_open() {
                return Poll::Ready(());
            }
            self.0.1.borrow_mut().push(context.waker().clone());
            Poll::Pending
        })
        .await;
    }
}

type Handler = Box<dyn Fn(&ConnectionInfo, &[u8]) -> Pending<Vec<u8>>>;

/// A service whose answers a closure gives.
pub(crate) struct TestService {
    pub(crate) handler: Handler,
    /// Frames that asked for admission.
    pub(crate) asked: Cell<usize>,
    /// API key and size of the last of them.
    pub(crate) last_asked: Cell<(i16, usize)>,
    /// Shut for admission until opened; admits everything if there is none.
    pub(crate) admission: RefCell<Option<Gate>>,
    pub(crate) turns: Cell<usize>,
}

impl TestService {
    pub(crate) fn new(
        handler: impl Fn(&ConnectionInfo, &[u8]) -> Pending<Vec<u8>> + 'static,
    ) -> Rc<Self> {
        Rc::new(Self {
            handler: Box::new(handler),
            asked: Cell::new(0),
            last_asked: Cell::default(),
            admission: RefCell::default(),
            turns: Cell::new(0),
        })
    }
}

impl Service for TestService {
    type Slice = Vec<u8>;

    fn call(&self, connection: &ConnectionInfo, frame: &[u8]) -> Pending<Vec<u8>> {
        (self.handler)(connection, frame)
    }

    async fn admit(&self, api_key: i16, size_bytes: usize) {
        self.asked.set(self.asked.get() + 1);
        self.last_asked.set((api_key, size_bytes));
        let gate = self.admission.borrow().clone();
        if let Some(gate) = gate {
            gate.passed().await;
        }
    }

    async fn turn(&self) {
        self.turns.set(self.turns.get() + 1);
        glommio::executor().yield_task_queue_now().await;
    }
}

/// Serves every connection to a new listener. Reasons to close are kept in order.
pub(crate) struct Server {
    pub(crate) address: String,
    pub(crate) closed: Rc<RefCell<Vec<CloseReason>>>,
}

pub(crate) fn serve(service: &Rc<TestService>, limits: ConnectionLimits) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let closed = Rc::new(RefCell::new(Vec::new()));
    let (service, reasons) = (Rc::clone(service), Rc::clone(&closed));
    glommio::spawn_local(async move {
        while let Ok(stream) = listener.accept().await {
            let (service, reasons) = (Rc::clone(&service), Rc::clone(&reasons));
            glommio::spawn_local(async move {
                let reason = serve_connection(stream, service, limits).await;
                reasons.borrow_mut().push(reason);
            })
            .detach();
        }
    })
    .detach();
    Server { address, closed }
}

impl Server {
    pub(crate) async fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(&self.address[..]).await.unwrap();
        stream.set_nodelay(true).unwrap();
        stream
    }

    /// Waits until `count` connections have ended.
    pub(crate) async fn ended(&self, count: usize) {
        while self.closed.borrow().len() < count {
            glommio::timer::sleep(Duration::from_millis(1)).await;
        }
    }
}

/// A frame of the least header, with `id` as correlation id and some bytes behind it.
pub(crate) fn frame(id: i32, body: &[u8]) -> Vec<u8> {
    let mut bytes = ((8 + body.len()) as i32).to_be_bytes().to_vec();
    bytes.extend_from_slice(&[0, 18, 0, 0]);
    bytes.extend_from_slice(&id.to_be_bytes());
    bytes.extend_from_slice(body);
    bytes
}

pub(crate) fn correlation_id(frame: &[u8]) -> i32 {
    i32::from_be_bytes(frame[4..8].try_into().unwrap())
}

/// A response that carries `body` as a slice.
pub(crate) fn response(id: i32, body: Vec<u8>) -> Response<Vec<u8>> {
    let mut builder = ResponseBuilder::new(id, false, 0);
    builder.push_slice(body);
    builder.finish()
}

/// Reads one response; `None` when the server has closed.
pub(crate) async fn read_response(stream: &mut TcpStream) -> Option<(i32, Vec<u8>)> {
    let mut prefix = [0; 4];
    stream.read_exact(&mut prefix).await.ok()?;
    let mut bytes = vec![0; i32::from_be_bytes(prefix) as usize];
    stream.read_exact(&mut bytes).await.ok()?;
    let id = i32::from_be_bytes(bytes[..4].try_into().unwrap());
    Some((id, bytes.split_off(4)))
}

pub(crate) async fn write(stream: &mut TcpStream, bytes: &[u8]) {
    stream.write_all(bytes).await.unwrap();
}

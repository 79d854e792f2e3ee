//! What lies between us and the database: it passes everything on, until it does not.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// A proxy on a port of its own. Its connections end with it.
pub(crate) struct Proxy {
    pub(crate) port: u16,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    /// Where the server is.
    target: AtomicU16,
    /// For how many milliseconds each piece is held up on its way to us.
    slow: AtomicU64,
    /// Whether what the server says is lost on its way.
    deaf: AtomicBool,
    /// Connections with a lower number are silent for ever.
    silent_below: AtomicUsize,
    /// How many have come.
    count: AtomicUsize,
    /// Whether the answer to the next COMMIT is lost, with its connection.
    loses_commit: AtomicBool,
    /// Whether nobody is let through to the server: a connection is taken, and hears nothing.
    takes_and_is_silent: AtomicBool,
    over: AtomicBool,
    open: Mutex<Vec<TcpStream>>,
}

impl Proxy {
    /// Passes everything on to this port.
    pub(crate) fn to(port: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let own = listener.local_addr().expect("an address").port();
        let state = Arc::new(State { target: AtomicU16::new(port), ..State::default() });
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if shared.over.load(Ordering::SeqCst) {
                    break;
                }
                pass_on(stream, &shared);
            }
        });
        Self { port: own, state }
    }

    /// Passes on nothing more of any connection that is open, and closes none. New ones are served.
    pub(crate) fn stall(&self) {
        self.state.silent_below.store(self.state.count.load(Ordering::SeqCst), Ordering::SeqCst);
    }

    /// Whether new connections are stalled from the beginning.
    pub(crate) fn stall_new(&self, on: bool) {
        self.state.takes_and_is_silent.store(on, Ordering::SeqCst);
    }

    /// Passes the next COMMIT on, waits until the server has answered it, and then closes the connection.
    pub(crate) fn lose_next_commit(&self) {
        self.state.loses_commit.store(true, Ordering::SeqCst);
    }

    /// Whether the answer to a COMMIT was lost.
    pub(crate) fn has_lost_a_commit(&self) -> bool {
        !self.state.loses_commit.load(Ordering::SeqCst)
    }

    /// New connections lead to another server from now on.
    pub(crate) fn lead_to(&self, port: u16) {
        self.state.target.store(port, Ordering::SeqCst);
    }

    /// Holds up everything that the server says.
    pub(crate) fn slow_down(&self, time: Duration) {
        self.state.slow.store(u64::try_from(time.as_millis()).expect("a short time"), Ordering::SeqCst);
    }

    /// Whether everything that the server says is lost, while it hears what we say.
    pub(crate) fn deafen(&self, on: bool) {
        self.state.deaf.store(on, Ordering::SeqCst);
    }

    /// Closes every connection.
    pub(crate) fn reset(&self) {
        for stream in self.state.open.lock().expect("a lock").drain(..) {
            drop(stream.shutdown(Shutdown::Both));
        }
    }

    /// How many connections have come.
    pub(crate) fn count(&self) -> usize {
        self.state.count.load(Ordering::SeqCst)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.state.over.store(true, Ordering::SeqCst);
        self.reset();
        drop(TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)));
    }
}

fn pass_on(client: TcpStream, state: &Arc<State>) {
    let port = state.target.load(Ordering::SeqCst);
    let number = state.count.fetch_add(1, Ordering::SeqCst);
    let mut open = state.open.lock().expect("a lock");
    open.push(client.try_clone().expect("a second handle"));
    if state.takes_and_is_silent.load(Ordering::SeqCst) {
        return;
    }
    // Without a server there is nobody to pass anything to; the client hears that its connection is closed.
    let Ok(server) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)) else {
        drop(client.shutdown(Shutdown::Both));
        return;
    };
    open.push(server.try_clone().expect("a second handle"));
    drop(open);
    let committing = Arc::new(AtomicBool::new(false));
    let (to_server, to_client) = (server.try_clone(), client.try_clone());
    let (watch, told) = (Arc::clone(state), Arc::clone(&committing));
    copy(client, to_server.expect("a second handle"), number, state, move |bytes| {
        // PostgreSQL's message ends in a zero, MariaDB's begins with a 3.
        let commits = bytes.ends_with(b"COMMIT\0") || bytes.ends_with(b"\x03COMMIT");
        if commits && watch.loses_commit.load(Ordering::SeqCst) {
            told.store(true, Ordering::SeqCst);
        }
        true
    });
    let watch = Arc::clone(state);
    copy(server, to_client.expect("a second handle"), number, state, move |_| {
        thread::sleep(Duration::from_millis(watch.slow.load(Ordering::SeqCst)));
        while watch.deaf.load(Ordering::SeqCst) && !watch.over.load(Ordering::SeqCst) {
            thread::sleep(Duration::from_millis(20));
        }
        // Whatever the server says after it was told to commit is its answer to that.
        let lost = committing.load(Ordering::SeqCst);
        if lost {
            watch.loses_commit.store(false, Ordering::SeqCst);
        }
        !lost
    });
}

/// Copies until one end closes, or `may_pass` says no.
fn copy(
    mut from: TcpStream,
    mut to: TcpStream,
    number: usize,
    state: &Arc<State>,
    may_pass: impl Fn(&[u8]) -> bool + Send + 'static,
) {
    let state = Arc::clone(state);
    thread::spawn(move || {
        let mut buffer = [0; 16 * 1024];
        while let Ok(count @ 1..) = from.read(&mut buffer) {
            while number < state.silent_below.load(Ordering::SeqCst) {
                if state.over.load(Ordering::SeqCst) {
                    return;
                }
                thread::sleep(Duration::from_millis(20));
            }
            if !may_pass(&buffer[..count]) || to.write_all(&buffer[..count]).is_err() {
                break;
            }
        }
        drop(to.shutdown(Shutdown::Both));
        drop(from.shutdown(Shutdown::Both));
    });
}

//! A way to Redis on which a message can be held up, and delivered when nobody expects it any more.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

/// A port that leads to another one.
pub(crate) struct Proxy {
    pub(crate) port: u16,
    held: Arc<Held>,
}

#[derive(Default)]
struct Held {
    /// What is held up: messages with this text in them.
    text: Mutex<Option<String>>,
    arrived: Notify,
    released: Notify,
}

impl Proxy {
    pub(crate) async fn to(port: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let own = listener.local_addr().expect("an address").port();
        let held = Arc::new(Held::default());
        let shared = Arc::clone(&held);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let Ok(server) = TcpStream::connect(("127.0.0.1", port)).await else { continue };
                let (from_client, to_client) = client.into_split();
                let (from_server, to_server) = server.into_split();
                tokio::spawn(carry(from_client, to_server, Some(Arc::clone(&shared))));
                tokio::spawn(carry(from_server, to_client, None));
            }
        });
        Self { port: own, held }
    }

    /// Holds up the next message to Redis that has this text in it.
    pub(crate) fn hold(&self, text: &str) {
        *self.held.text.lock().expect("a lock") = Some(text.to_owned());
    }

    /// Waits until one is held up.
    pub(crate) async fn holds(&self) {
        self.held.arrived.notified().await;
    }

    /// Delivers it.
    pub(crate) fn release(&self) {
        self.held.released.notify_one();
    }
}

async fn carry(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, held: Option<Arc<Held>>) {
    let mut bytes = vec![0; 1 << 20];
    while let Ok(length @ 1..) = from.read(&mut bytes).await {
        let message = &bytes[..length];
        if let Some(held) = &held {
            let is_it = |text: &mut String| message.windows(text.len()).any(|part| part == text.as_bytes());
            let holds = held.text.lock().expect("a lock").take_if(is_it).is_some();
            if holds {
                held.arrived.notify_one();
                held.released.notified().await;
            }
        }
        if to.write_all(message).await.is_err() {
            return;
        }
    }
}

//! Wake-ups: whoever follows the log hears at once that something changed, where the database can tell it.
//!
//! They are no part of what is promised: a reader looks at the log every so often, woken or not. Therefore nothing here is an error to
//! anybody. A listener has a connection of its own beside those of the pool, on a thread of its own, which looks every few
//! milliseconds whether something came: Diesel can look, but not wait. Whether the connection still works is found out by beats, which are
//! sent through the pool and have to come back.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep, timeout};

use super::dialect::{self, Access, News};
use super::{Ledger, LedgerError};

/// How often a listener looks whether something came.
const LOOK: Duration = Duration::from_millis(10);

/// How often a beat is sent. A connection on which two in turn are not heard is given up.
const BEAT: Duration = Duration::from_secs(3);

/// How long to wait before a new connection is opened, at first and at most.
const AGAIN: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// How many threads may hang, each on a connection that says nothing, before no more are started.
const HUNG: usize = 3;

/// How long whoever revoked something waits until others are told.
const TELLING: Duration = Duration::from_millis(250);

/// The shortest time between two wake-ups of one process: each is a transaction, and makes every server read.
const SPACING: Duration = Duration::from_millis(20);

/// What this process has to tell others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Telling {
    /// Nothing.
    #[default]
    Done,
    /// Somebody is at it.
    Busy,
    /// Somebody is at it, and something else was committed since.
    Again,
}

/// The state of the wake-ups of one ledger.
#[derive(Debug, Default)]
pub(super) struct WakeUps {
    telling: Mutex<Telling>,
    threads: Arc<AtomicUsize>,
}

impl WakeUps {
    /// Changes what is to be told, and says what it was before.
    fn change(&self, next: impl FnOnce(Telling) -> Telling) -> Telling {
        let mut telling = self.telling.lock().unwrap_or_else(PoisonError::into_inner);
        let before = *telling;
        *telling = next(before);
        before
    }
}

impl Ledger {
    /// Wakes everybody who follows the log, now that something was committed. Waits a moment until that is done; what goes
    /// wrong is no error.
    pub async fn wake_followers(&self) {
        if !self.has_wake_ups() {
            return;
        }
        let next = |now| if now == Telling::Done { Telling::Busy } else { Telling::Again };
        if self.wake_ups.change(next) != Telling::Done {
            // Whoever is at it tells it once more.
            return;
        }
        let (ledger, (told, first)) = (self.clone(), tokio::sync::oneshot::channel());
        // On its own: whoever waits may go away.
        tokio::spawn(async move {
            ledger.tell(News::Changed).await;
            let _ = told.send(());
            loop {
                sleep(SPACING).await;
                let next = |now| if now == Telling::Again { Telling::Busy } else { Telling::Done };
                if ledger.wake_ups.change(next) != Telling::Again {
                    return;
                }
                ledger.tell(News::Changed).await;
            }
        });
        let _ = timeout(TELLING, first).await;
    }

    /// Calls `woken` whenever something may have changed, until this is dropped: when somebody says so, and when a connection on which it
    /// could have been said is there again. Returns at once where nobody ever says so.
    pub(crate) async fn listen(&self, woken: impl Fn()) {
        if !self.has_wake_ups() {
            return;
        }
        let mut pause = AGAIN.0;
        loop {
            if let Some(mut line) = Line::open(self) {
                let begun = Instant::now();
                let why = self.hear(&mut line, &woken).await;
                log::info!("wake-ups are not heard for a moment: {why}");
                if begun.elapsed() > AGAIN.1 {
                    pause = AGAIN.0;
                }
            }
            sleep(pause).await;
            pause = AGAIN.1.min(pause * 2);
        }
    }

    fn has_wake_ups(&self) -> bool {
        self.wakes && dialect::has_wake_ups(&self.url)
    }

    async fn tell(&self, news: News) -> bool {
        let told = self.run(move |connection| Ok(dialect::tell(connection, news)?)).await;
        told.inspect_err(|error| log::debug!("nobody is woken now: {error}")).is_ok()
    }

    /// Listens until the connection is lost, and says why it is.
    async fn hear(&self, line: &mut Line, woken: &impl Fn()) -> String {
        let mut beats = interval_at(Instant::now() + BEAT, BEAT);
        beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut sent, mut missed) = (false, 0);
        loop {
            tokio::select! {
                heard = line.0.recv() => match heard {
                    Some(Heard::News(news)) => {
                        (sent, missed) = (false, 0);
                        if news == News::Changed {
                            woken();
                        }
                    }
                    // What was said while nobody listened has to be looked for.
                    Some(Heard::Listening) => woken(),
                    Some(Heard::Lost(error)) => return error.to_string(),
                    None => return "the thread that listens has ended".to_owned(),
                },
                _ = beats.tick() => {
                    missed += u32::from(sent);
                    if missed >= 2 {
                        return "the connection is silent".to_owned();
                    }
                    // One that could not be sent says nothing of the connection.
                    sent = self.tell(News::Beat).await;
                }
            }
        }
    }
}

/// What a thread that listens has to say.
enum Heard {
    Listening,
    News(News),
    Lost(LedgerError),
}

/// A connection that listens, on a thread of its own, which ends when this is dropped.
struct Line(UnboundedReceiver<Heard>);

impl Line {
    /// [`None`] where too many threads hang.
    fn open(ledger: &Ledger) -> Option<Self> {
        let threads = Arc::clone(&ledger.wake_ups.threads);
        if threads.fetch_add(1, Ordering::AcqRel) >= HUNG {
            threads.fetch_sub(1, Ordering::AcqRel);
            return None;
        }
        let (tell, heard) = unbounded_channel();
        let (url, patience, counted) = (ledger.url.clone(), ledger.pool.patience(), Counted(threads));
        let work = move || {
            let _counted = counted;
            if let Err(error) = listen(&url, patience, &tell) {
                // Nobody may be there any more.
                let _ = tell.send(Heard::Lost(error));
            }
        };
        std::thread::Builder::new().name("simplejwt-listen".to_owned()).spawn(work).ok()?;
        Some(Self(heard))
    }
}

/// Counts a thread as long as it runs.
struct Counted(Arc<AtomicUsize>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

fn listen(url: &super::DatabaseUrl, patience: Duration, tell: &UnboundedSender<Heard>) -> Result<(), LedgerError> {
    let mut connection = dialect::dial(url, Access::ReadOnly, patience)?;
    dialect::listen(&mut connection)?;
    let mut news = vec![Heard::Listening];
    loop {
        for one in news {
            if tell.send(one).is_err() {
                return Ok(());
            }
        }
        if tell.is_closed() {
            return Ok(());
        }
        std::thread::sleep(LOOK);
        let mut heard = dialect::heard(&mut connection)?;
        // Whatever was said several times is said once.
        heard.dedup();
        news = heard.into_iter().map(Heard::News).collect();
    }
}

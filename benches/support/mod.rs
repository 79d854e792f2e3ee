//! Measuring on a machine that does other things as well: the candidates take turns, and what is told is the median of the
//! ratios within each round, with its spread.

#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "times and counts of a bench are small"
)]

use std::time::{Duration, Instant};

/// Something to be measured.
pub(crate) struct Candidate<'a> {
    /// What it is called in the table.
    pub(crate) name: &'a str,
    /// Does it once.
    pub(crate) run: Box<dyn FnMut() + 'a>,
}

impl<'a> Candidate<'a> {
    pub(crate) fn new(name: &'a str, run: impl FnMut() + 'a) -> Self {
        Self { name, run: Box::new(run) }
    }
}

/// Lets the candidates take turns for `rounds` rounds, each for about `turn`, and prints a table. The first is what the others
/// are compared with.
pub(crate) fn interleave(title: &str, mut candidates: Vec<Candidate<'_>>, rounds: usize, turn: Duration) {
    let start = Instant::now();
    let times = take_turns(&mut candidates, rounds, turn, &|| start.elapsed());
    print(title, &candidates, &times);
}

/// The same by the processor time of this process: what others do on the machine counts less, and what threads of ours do counts.
pub(crate) fn interleave_cpu(title: &str, mut candidates: Vec<Candidate<'_>>, rounds: usize, turn: Duration) {
    let times = take_turns(&mut candidates, rounds, turn, &processor_time);
    print(title, &candidates, &times);
}

/// The same without what all of them do beside what is to be measured: `beside` does that alone, takes its turn with them, and is
/// subtracted in each round.
pub(crate) fn interleave_cpu_without<'a>(
    beside: Candidate<'a>,
    title: &str,
    mut candidates: Vec<Candidate<'a>>,
    rounds: usize,
    turn: Duration,
) {
    candidates.insert(0, beside);
    let mut times = take_turns(&mut candidates, rounds, turn, &processor_time);
    let beside = times.remove(0);
    candidates.remove(0);
    for times in &mut times {
        std::iter::zip(times, &beside).for_each(|(time, beside)| *time -= beside);
    }
    print(title, &candidates, &times);
}

fn processor_time() -> Duration {
    let used = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(used.tv_sec as u64, used.tv_nsec as u32)
}

/// How long each of them took in each round.
fn take_turns(
    candidates: &mut [Candidate<'_>],
    rounds: usize,
    turn: Duration,
    clock: &dyn Fn() -> Duration,
) -> Vec<Vec<f64>> {
    let counts: Vec<u32> = candidates.iter_mut().map(|candidate| calibrate(candidate, turn)).collect();
    let mut times = vec![Vec::with_capacity(rounds); candidates.len()];
    for round in 0..rounds {
        for place in 0..candidates.len() {
            // Each round begins with another one, so that none always runs on what the same neighbour left behind.
            let index = (place + round) % candidates.len();
            let begun = clock();
            for _ in 0..counts[index] {
                (candidates[index].run)();
            }
            times[index].push(clock().saturating_sub(begun).as_secs_f64() / f64::from(counts[index]));
        }
    }
    times
}

fn print(title: &str, candidates: &[Candidate<'_>], times: &[Vec<f64>]) {
    println!("\n{title} ({} rounds)", times[0].len());
    println!("{:<44} {:>12} {:>12}   {:>7} {:>15}", "", "median", "fastest", "ratio", "spread");
    for (candidate, own) in std::iter::zip(candidates, times) {
        let ratios: Vec<f64> = own.iter().zip(&times[0]).map(|(own, first)| own / first).collect();
        println!(
            "{:<44} {:>12} {:>12}   {:>7.3} {:>15}",
            candidate.name,
            text(median(own)),
            text(own.iter().copied().fold(f64::INFINITY, f64::min)),
            median(&ratios),
            spread(&ratios),
        );
    }
}

fn calibrate(candidate: &mut Candidate<'_>, turn: Duration) -> u32 {
    let mut count = 1u32;
    loop {
        let begun = Instant::now();
        for _ in 0..count {
            (candidate.run)();
        }
        let took = begun.elapsed();
        if took >= turn / 4 || count > 1 << 24 {
            let fits = f64::from(count) * turn.as_secs_f64() / took.as_secs_f64();
            return (fits as u32).max(1);
        }
        count *= 2;
    }
}

/// The middle one.
pub(crate) fn median(values: &[f64]) -> f64 {
    quantile(values, 0.5)
}

/// A number from the environment.
pub(crate) fn number(name: &str, default: usize) -> usize {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// Seconds of CPU of this process.
pub(crate) fn own_cpu() -> f64 {
    stat("self").map_or(f64::NAN, |(_, seconds)| seconds)
}

/// Seconds of CPU of the database server, if `SERVER_PID` says which it is, and of its children: to some servers, each connection
/// is one.
pub(crate) fn server_cpu() -> f64 {
    let Ok(server) = std::env::var("SERVER_PID") else { return 0.0 };
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let names = processes.filter_map(|process| process.file_name().into_string().ok());
    let seconds = names.filter_map(|name| {
        let (parent, seconds) = stat(&name)?;
        (name == server || parent == server).then_some(seconds)
    });
    seconds.sum()
}

/// The parent of a process, and its seconds of CPU, with those of its children that have ended.
fn stat(process: &str) -> Option<(String, f64)> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    let fields: Vec<_> = stat.rsplit(") ").next()?.split(' ').collect();
    let ticks = fields.get(11..15)?.iter().filter_map(|ticks| ticks.parse::<f64>().ok());
    Some(((*fields.get(1)?).to_owned(), ticks.sum::<f64>() / 100.0))
}

/// The value below which this share of all values lies.
pub(crate) fn quantile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let index = ((sorted.len() as f64 - 1.0) * share).round() as usize;
    sorted.get(index).copied().unwrap_or(f64::NAN)
}

/// The quarter and the three-quarter point.
pub(crate) fn spread(values: &[f64]) -> String {
    format!("{:.3} to {:.3}", quantile(values, 0.25), quantile(values, 0.75))
}

/// A time in the unit that suits it.
pub(crate) fn text(seconds: f64) -> String {
    match seconds {
        s if s < 1e-6 => format!("{:.0} ns", s * 1e9),
        s if s < 1e-3 => format!("{:.2} us", s * 1e6),
        s if s < 1.0 => format!("{:.2} ms", s * 1e3),
        s => format!("{s:.2} s"),
    }
}

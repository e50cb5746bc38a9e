//! Long and mixed load on many pictures, of which every single answer is checked.

use std::{
    collections::{BTreeMap, HashMap},
    fs,
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        atomic::{
            AtomicBool, AtomicU64,
            Ordering::{AcqRel, Relaxed},
        },
    },
    time::{Duration, Instant},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use sha2::{Digest as _, Sha256};
use tokio::{task::JoinSet, time::sleep};

use crate::{
    Args, Target,
    http::{Answer, Connection, Request},
};

/// Bodies that are remembered whole, for ranges to be compared with.
const REMEMBERED: usize = 2000;
/// How often the server's memory is looked at.
const LOOKS: Duration = Duration::from_secs(5);
/// The part of the time, in percent, in which memory may still grow to what it needs.
const WARM_UP_PERCENT: usize = 25;
/// What it may grow by after that, in percent of what it was: more is a leak.
const GROWTH_PERCENT: f64 = 10.0;
/// In less than that, in seconds, a straight line says nothing.
const LONG_ENOUGH: f64 = 600.0;
const MOST_COMPLAINTS: usize = 20;

#[derive(Clone, Copy)]
enum Way {
    Get,
    Head,
    Conditional,
    Range,
}

struct Soak {
    targets: Vec<Target>,
    /// How likely the first n targets are together, by Zipf's law.
    chances: Vec<f64>,
    /// `ETag` and length of each target, as first seen.
    seen: RwLock<HashMap<usize, (String, usize)>>,
    bodies: RwLock<HashMap<usize, Arc<Vec<u8>>>>,
    statuses: Mutex<BTreeMap<(&'static str, u16), u64>>,
    complaints: Mutex<Vec<String>>,
    wrong: AtomicU64,
    asked: AtomicU64,
    is_over: AtomicBool,
}

/// Whether nothing was wrong.
pub async fn run(args: &Args) -> Result<bool, String> {
    let (minutes, requests) = (args.number("minutes")?, args.number("requests")?);
    let (connections, pid) = (args.number("connections")?, args.number("pid")?);
    let (host, targets) = args.targets()?;
    let mut sum = 0.0;
    let mut chances = Vec::with_capacity(targets.len());
    for rank in (1_u32..).take(targets.len()) {
        sum += 1.0 / f64::from(rank);
        chances.push(sum);
    }
    let soak = Arc::new(Soak {
        targets,
        chances,
        seen: RwLock::default(),
        bodies: RwLock::default(),
        statuses: Mutex::default(),
        complaints: Mutex::default(),
        wrong: AtomicU64::new(0),
        asked: AtomicU64::new(0),
        is_over: AtomicBool::new(false),
    });
    let started = Instant::now();
    let mut workers = JoinSet::new();
    for number in 1..=connections {
        let (soak, host) = (Arc::clone(&soak), host.clone());
        workers.spawn(async move { soak.work(&host, number).await });
    }
    let mut looks = Vec::new();
    while started.elapsed() < Duration::from_secs(minutes * 60) || soak.asked.load(Relaxed) < requests {
        sleep(LOOKS).await;
        let Some(mib) = resident_mib(pid) else {
            soak.complain("the server is gone".to_owned());
            break;
        };
        looks.push((started.elapsed().as_secs_f64(), mib));
        let (asked, wrong) = (soak.asked.load(Relaxed), soak.wrong.load(Relaxed));
        if looks.len().is_multiple_of(12) {
            eprintln!(
                "  {:.0} s: {asked} requests, {wrong} wrong, {mib:.0} MiB",
                started.elapsed().as_secs_f64()
            );
        }
    }
    soak.is_over.store(true, Relaxed);
    while workers.join_next().await.is_some() {}
    Ok(soak.report(started.elapsed(), &looks))
}

impl Soak {
    async fn work(&self, host: &str, number: u64) {
        let mut connection = Connection::new(host);
        let mut random = Random(number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        while !self.is_over.load(Relaxed) {
            let wanted = random.part() * self.chances.last().copied().unwrap_or_default();
            let which = self.chances.partition_point(|sum| *sum < wanted).min(self.targets.len() - 1);
            let way = match random.next() % 10 {
                0..=6 => Way::Get,
                7 => Way::Head,
                8 => Way::Conditional,
                _ => Way::Range,
            };
            self.ask(&mut connection, which, way, &mut random).await;
            self.asked.fetch_add(1, AcqRel);
        }
    }

    async fn ask(&self, connection: &mut Connection, which: usize, way: Way, random: &mut Random) {
        let target = &self.targets[which];
        let seen = self.seen.read().unwrap_or_else(PoisonError::into_inner).get(&which).cloned();
        let body = self.bodies.read().unwrap_or_else(PoisonError::into_inner).get(&which).cloned();
        let (name, method, header, expected) = match (way, &seen, &body) {
            (Way::Head, ..) => ("HEAD", "HEAD", None, 200),
            (Way::Conditional, Some((etag, _)), _) => {
                ("conditional", "GET", Some(format!("If-None-Match: {etag}")), 304)
            }
            (Way::Range, _, Some(body)) => {
                let from = random.below(body.len());
                let to = from + random.below(body.len() - from);
                ("range", "GET", Some(format!("Range: bytes={from}-{to}")), 206)
            }
            _ => ("GET", "GET", None, 200),
        };
        let range = header.clone().filter(|_| expected == 206);
        let request = Request { method, target: &target.path, token: &target.token, header };
        let answer = match connection.ask(&request).await {
            Ok(answer) => answer,
            Err(error) => {
                self.count(name, 0);
                return self.complain(format!("{name} {}: {error}", target.path));
            }
        };
        self.count(name, answer.status);
        // Shed, and told when to come again, as it is meant to be.
        if answer.status == 503 && !answer.header("retry-after").is_empty() {
            return;
        }
        let problem = if answer.status == expected {
            self.fault(
                which,
                &answer,
                method == "HEAD",
                seen.as_ref(),
                body.as_ref().map(|body| body.as_slice()),
                range.as_deref(),
            )
        } else {
            Some(format!("status {} instead of {expected}", answer.status))
        };
        if let Some(problem) = problem {
            self.complain(format!("{name} {}: {problem}", target.path));
        }
    }

    /// What is wrong with an answer of the right status.
    fn fault(
        &self,
        which: usize,
        answer: &Answer,
        is_head: bool,
        seen: Option<&(String, usize)>,
        body: Option<&[u8]>,
        range: Option<&str>,
    ) -> Option<String> {
        let etag = answer.header("etag");
        let length: Option<usize> = answer.header("content-length").parse().ok();
        if let Some((first, _)) = seen
            && first != etag
        {
            return Some(format!("the ETag is {etag}, and was {first}"));
        }
        if let (Some(range), Some(body)) = (range, body) {
            let (from, to) = range.trim_start_matches("Range: bytes=").split_once('-')?;
            let (from, to): (usize, usize) = (from.parse().ok()?, to.parse().ok()?);
            let told = format!("bytes {from}-{to}/{}", body.len());
            let is_it = answer.body == body[from..=to] && answer.header("content-range") == told;
            return (!is_it)
                .then(|| format!("{range} has other bytes, or another Content-Range than {told}"));
        }
        if answer.status == 304 {
            return (!answer.body.is_empty()).then(|| "a 304 with a body".to_owned());
        }
        if let Some((_, first)) = seen
            && length != Some(*first)
        {
            return Some(format!("the length is {length:?}, and was {first}"));
        }
        if is_head {
            return None;
        }
        let hash = URL_SAFE_NO_PAD.encode(&Sha256::digest(&answer.body)[..16]);
        if etag.trim_matches('"') != hash {
            return Some(format!("the ETag is {etag}, and the bytes are {hash}"));
        }
        self.remember(which, etag, &answer.body)
    }

    fn remember(&self, which: usize, etag: &str, body: &[u8]) -> Option<String> {
        let mut seen = self.seen.write().unwrap_or_else(PoisonError::into_inner);
        let (first, _) = seen.entry(which).or_insert_with(|| (etag.to_owned(), body.len()));
        // Another may have been quicker.
        if first != etag {
            return Some(format!("the ETag is {etag}, and was {first}"));
        }
        drop(seen);
        let is_wanted =
            |bodies: &HashMap<usize, _>| bodies.len() < REMEMBERED && !bodies.contains_key(&which);
        if is_wanted(&self.bodies.read().unwrap_or_else(PoisonError::into_inner)) {
            let mut bodies = self.bodies.write().unwrap_or_else(PoisonError::into_inner);
            bodies.insert(which, Arc::new(body.to_vec()));
        }
        None
    }

    fn count(&self, name: &'static str, status: u16) {
        let mut statuses = self.statuses.lock().unwrap_or_else(PoisonError::into_inner);
        *statuses.entry((name, status)).or_default() += 1;
    }

    fn complain(&self, text: String) {
        self.wrong.fetch_add(1, Relaxed);
        let mut complaints = self.complaints.lock().unwrap_or_else(PoisonError::into_inner);
        if complaints.len() < MOST_COMPLAINTS {
            complaints.push(text);
        }
    }

    fn report(&self, took: Duration, looks: &[(f64, f64)]) -> bool {
        let (asked, wrong) = (self.asked.load(Relaxed), self.wrong.load(Relaxed));
        let seen = self.seen.read().unwrap_or_else(PoisonError::into_inner).len();
        let seconds = took.as_secs_f64();
        println!(
            "Requests    {asked} in {seconds:.0} s; {seen} of {} variants seen whole",
            self.targets.len()
        );
        println!("Wrong       {wrong}\n\n| request | status | answers |\n|---|---|---|");
        for ((name, status), count) in self.statuses.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            println!("| {name} | {status} | {count} |");
        }
        let warm = &looks[looks.len() * WARM_UP_PERCENT / 100..];
        let (slope, mean) = fit(warm);
        let most = looks.iter().fold(0.0, |most: f64, (_, mib)| most.max(*mib));
        let lasted = warm.last().map_or(0.0, |last| last.0 - warm[0].0);
        let growth = slope * lasted;
        println!(
            "\nMemory      {mean:.0} MiB resident on average after warm-up, {most:.0} MiB at most; \
             fitted growth {growth:+.1} MiB in {lasted:.0} s, {:+.1} MiB an hour",
            slope * 3600.0
        );
        for complaint in self.complaints.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            println!("WRONG: {complaint}");
        }
        let grows = lasted >= LONG_ENOUGH && growth > mean * GROWTH_PERCENT / 100.0;
        if grows {
            println!("WRONG: memory grew by more than {GROWTH_PERCENT} % after warm-up");
        }
        wrong == 0 && !grows
    }
}

/// The slope of the straight line that fits best, and the mean.
fn fit(looks: &[(f64, f64)]) -> (f64, f64) {
    let count = looks.iter().map(|_| 1.0).sum::<f64>().max(1.0);
    let x = looks.iter().map(|look| look.0).sum::<f64>() / count;
    let y = looks.iter().map(|look| look.1).sum::<f64>() / count;
    let over = looks.iter().map(|look| (look.0 - x) * (look.1 - y)).sum::<f64>();
    let under = looks.iter().map(|look| (look.0 - x).powi(2)).sum::<f64>();
    (if under > 0.0 { over / under } else { 0.0 }, y)
}

fn resident_mib(pid: u64) -> Option<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.trim().trim_end_matches(" kB").parse::<f64>().ok()? / 1024.0)
}

/// Marsaglia's xorshift: quick, and the same in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// From 0 to 1.
    fn part(&mut self) -> f64 {
        f64::from(u32::try_from(self.next() >> 32).unwrap_or_default()) / f64::from(u32::MAX)
    }

    /// Less than `bound`, or 0.
    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() >> 16).unwrap_or_default() % bound.max(1)
    }
}

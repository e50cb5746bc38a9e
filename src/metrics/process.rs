//! What the process itself takes, under the names that Prometheus' client libraries share
//! (<https://prometheus.io/docs/instrumenting/writing_clientlibs/#process-metrics>), read from proc(5) when asked.

use std::{
    fmt, fs,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{counter::ConstCounter, gauge::ConstGauge},
};
use rustix::{
    param::{clock_ticks_per_second, page_size},
    process::{Resource, getrlimit},
};

/// The process.
#[derive(Debug)]
pub(super) struct Process {
    started_secs: u64,
}

impl Process {
    /// This one, which has just begun.
    pub(super) fn this() -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { started_secs: now.as_secs() }
    }
}

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let started = ConstGauge::new(self.started_secs);
        put(&mut encoder, "process_start_time_seconds", "When the process started, in Unix time", &started)?;
        // Elsewhere than on Linux there is no more to say.
        if let Some(stat) = fs::read_to_string("/proc/self/stat").ok().as_deref().and_then(Stat::read) {
            let cpu = ConstCounter::new(stat.cpu_seconds);
            put(&mut encoder, "process_cpu_seconds", "Seconds of CPU time, user's and system's", &cpu)?;
            let resident = ConstGauge::new(stat.resident_bytes);
            put(&mut encoder, "process_resident_memory_bytes", "Bytes of memory in use", &resident)?;
            let threads = ConstGauge::new(stat.threads);
            put(&mut encoder, "process_threads", "Threads", &threads)?;
        }
        if let Ok(open) = fs::read_dir("/proc/self/fd") {
            let open = ConstGauge::new(u64::try_from(open.count()).unwrap_or(u64::MAX));
            put(&mut encoder, "process_open_fds", "Open file descriptors", &open)?;
        }
        if let Some(most) = getrlimit(Resource::Nofile).current {
            let most = ConstGauge::new(most);
            put(&mut encoder, "process_max_fds", "The most file descriptors that may be open", &most)?;
        }
        Ok(())
    }
}

fn put(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    metric: &impl EncodeMetric,
) -> Result<(), fmt::Error> {
    metric.encode(encoder.encode_descriptor(name, help, None, metric.metric_type())?)
}

/// What proc(5) has of the process in `stat`.
#[derive(Debug, PartialEq)]
struct Stat {
    cpu_seconds: f64,
    resident_bytes: u64,
    threads: u64,
}

impl Stat {
    fn read(text: &str) -> Option<Self> {
        // The second field is a name of any characters, in parentheses. What follows it is the third.
        let (_, fields) = text.rsplit_once(')')?;
        let fields: Vec<&str> = fields.split_whitespace().collect();
        let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
        let ticks = field(14)?.saturating_add(field(15)?);
        let used = Duration::from_millis(ticks.saturating_mul(1000) / clock_ticks_per_second().max(1));
        Some(Self {
            cpu_seconds: used.as_secs_f64(),
            resident_bytes: field(24)?.saturating_mul(page_size() as u64),
            threads: field(20)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_counted_behind_the_name() {
        let text = "7 (a ) b) S 1 7 7 0 -1 4194560 96 0 0 0 150 50 0 0 20 0 9 0 100 200 3 184 0";
        let stat = Stat::read(text).unwrap();
        let ticks = clock_ticks_per_second();
        assert!((stat.cpu_seconds * f64::from(u32::try_from(ticks).unwrap()) - 200.0).abs() < 1e-6);
        assert_eq!((stat.resident_bytes, stat.threads), (3 * page_size() as u64, 9));
        assert_eq!(Stat::read("7 (short) S 1"), None);
        // After years on many cores.
        let long = Stat::read(&text.replace("150 50", "90000000000 50")).unwrap();
        assert!(long.cpu_seconds > 1e8);
    }
}

//! `[work]`: how much is done at once, in how much memory, and for how long.

use serde::Deserialize;

/// `[work]`
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Work {
    /// Renders at once; 0 means one for each core.
    pub renders: usize,
    /// Renders that may wait; more are shed with 503, and so is what a client asks for who has more running and
    /// waiting than he leaves room for others: one alone gets half.
    pub renders_waiting: usize,
    /// Renders at once that nobody waits for: the AVIFs of `format=auto`; 0 means that none are made.
    pub background_renders: usize,
    /// Such renders that may wait; more are left for a later request to ask for.
    pub background_waiting: usize,
    /// Uploads verified at once; 0 means one for each core.
    pub ingests: usize,
    /// Uploads that may wait for that.
    pub ingests_waiting: usize,
    /// Bytes that all renders and verifications together may hold while they decode, resize and encode. Each
    /// waits until what it may need at most is free; what may need more than all of it runs alone.
    ///
    /// The program also needs `cache.memory_bytes`; up to `upload.max_bytes` for each of `fetches`, and five
    /// times that for each of `renders` and `ingests`, for the files themselves; 8 MiB for each of `writes` and
    /// `writes_waiting`; 1.5 MiB for each of `streams`; and some 100 MiB for everything else.
    pub render_memory_bytes: u64,
    /// Seconds that a render may take, and that anybody waits for one; then it is 504.
    pub render_timeout_secs: u64,
    /// Originals and masters read from the bucket at once.
    pub fetches: usize,
    /// Those that may wait for that.
    pub fetches_waiting: usize,
    /// Originals and uploaded files streamed from the bucket to clients at once, each for as long as its client
    /// reads; small originals are not (`cache.max_original_bytes`).
    pub streams: usize,
    /// Those that may wait for that; more are shed with 503.
    pub streams_waiting: usize,
    /// Seconds that they may wait; then it is 503, too.
    pub streams_wait_secs: u64,
    /// Variants read from the bucket at once.
    pub variant_reads: usize,
    /// Variants that may wait for that; more are rendered again.
    pub variant_reads_waiting: usize,
    /// Variants written into the bucket at once, behind the answers.
    pub writes: usize,
    /// Variants that may wait for that; more are not kept there.
    pub writes_waiting: usize,
    /// Uploads read back from the bucket at once to be completed, each into a temporary file.
    pub completions: usize,
    /// Uploads that may wait for that.
    pub completions_waiting: usize,
    /// Bodies of resumable uploads received at once, each through a temporary file, counting those that
    /// are still being kept though their clients have hung up; more are shed with 503.
    pub receives: usize,
    /// Requests with an idempotency key that are worked on at once, counting those whose clients have
    /// hung up; more are shed with 503.
    pub keyed: usize,
}

impl Default for Work {
    fn default() -> Self {
        Self {
            renders: 0,
            renders_waiting: 128,
            background_renders: 1,
            background_waiting: 64,
            ingests: 0,
            ingests_waiting: 64,
            render_memory_bytes: 1 << 30,
            render_timeout_secs: 20,
            fetches: 16,
            fetches_waiting: 256,
            streams: 64,
            streams_waiting: 256,
            streams_wait_secs: 10,
            variant_reads: 32,
            variant_reads_waiting: 256,
            writes: 8,
            writes_waiting: 24,
            completions: 8,
            completions_waiting: 256,
            receives: 256,
            keyed: 1000,
        }
    }
}

//! Prometheus' older text format (0.0.4), for who does not ask for OpenMetrics.

use std::collections::HashSet;

/// Names counters as the older format does, after what they count up: in OpenMetrics `_total` belongs to the value, and
/// not to the family. The rest is the same, but for the end, of which the older format does not speak.
///
/// Source: <https://prometheus.io/docs/instrumenting/exposition_formats/>.
pub(super) fn older(open_metrics: &str) -> String {
    let counters: HashSet<&str> = open_metrics
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.strip_suffix(" counter"))
        .collect();
    let mut text = String::with_capacity(open_metrics.len());
    for line in open_metrics.lines().filter(|line| *line != "# EOF") {
        let counter = ["# HELP ", "# TYPE "].into_iter().find_map(|what| {
            let (name, rest) = line.strip_prefix(what)?.split_once(' ')?;
            counters.contains(name).then_some((what, name, rest))
        });
        match counter {
            Some((what, name, rest)) => text.extend([what, name, "_total ", rest, "\n"]),
            None => text.extend([line, "\n"]),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_named_after_what_they_count_up() {
        let open_metrics = "# HELP a_requests Requests.\n# TYPE a_requests counter\na_requests_total{b=\"# EOF\"} 1\n\
                            # HELP a_depth Deep.\n# TYPE a_depth gauge\na_depth 2\n# EOF\n";
        let text = "# HELP a_requests_total Requests.\n# TYPE a_requests_total counter\n\
                    a_requests_total{b=\"# EOF\"} 1\n# HELP a_depth Deep.\n# TYPE a_depth gauge\na_depth 2\n";
        assert_eq!(older(open_metrics), text);
    }
}

//! Asks pinhole for pictures, and says how it answered. The scripts beside it start it.

mod http;
mod soak;
mod steady;

use std::{collections::HashMap, process::ExitCode};

const USAGE: &str = "usage:
  client steady --rate N --seconds N --connections N --urls FILE
      asks for the URLs in turn, N a second whatever comes back (0: as fast as it comes), and prints a line
      of JSON for each second and one for all. {w} and {q} in a URL become widths and qualities, none twice.
  client soak --minutes N --requests N --connections N --urls FILE --pid PID
      asks for the URLs by Zipf's law in every way there is, checks every body, follows the server's memory.
  client weigh --urls FILE
      prints how many bytes the pictures have on average.
A line of FILE is a URL, and behind a tab, if it needs one, the bearer token.";

/// What is asked for.
struct Target {
    path: String,
    token: String,
}

/// The command line: a command, and numbers and names by option.
struct Args(HashMap<String, String>);

impl Args {
    fn text(&self, name: &str) -> Result<&str, String> {
        self.0.get(name).map(String::as_str).ok_or_else(|| format!("--{name} is missing\n{USAGE}"))
    }

    fn number(&self, name: &str) -> Result<u64, String> {
        self.text(name)?.parse().map_err(|_| format!("--{name} is no number"))
    }

    /// The host that all URLs lead to, and their paths.
    fn targets(&self) -> Result<(String, Vec<Target>), String> {
        let name = self.text("urls")?;
        let file = std::fs::read_to_string(name).map_err(|error| format!("{name}: {error}"))?;
        let mut host = "";
        let mut targets = Vec::new();
        for line in file.lines() {
            let (url, token) = line.split_once('\t').unwrap_or((line, ""));
            let path;
            (host, path) = http::split(url).ok_or_else(|| format!("{name}: no http URL: {url}"))?;
            targets.push(Target { path: path.to_owned(), token: token.to_owned() });
        }
        if targets.is_empty() { Err(format!("{name}: empty")) } else { Ok((host.to_owned(), targets)) }
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    let mut words = std::env::args().skip(1);
    let command = words.next().unwrap_or_default();
    let mut args = HashMap::new();
    while let (Some(name), Some(value)) = (words.next(), words.next()) {
        args.insert(name.trim_start_matches("--").to_owned(), value);
    }
    let args = Args(args);
    let done = match command.as_str() {
        "steady" => steady::run(&args).await.map(|()| true),
        "soak" => soak::run(&args).await,
        "weigh" => weigh(&args).await.map(|()| true),
        _ => Err(USAGE.to_owned()),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("client: {error}");
            ExitCode::from(2)
        }
    }
}

async fn weigh(args: &Args) -> Result<(), String> {
    let (host, targets) = args.targets()?;
    let mut connection = http::Connection::new(&host);
    let mut bytes = 0;
    for Target { path, token } in &targets {
        let request = http::Request { method: "GET", target: path, token, header: None };
        let answer = connection.ask(&request).await.map_err(|error| format!("{path}: {error}"))?;
        if answer.status != 200 {
            return Err(format!("{path}: status {}", answer.status));
        }
        bytes += answer.body.len();
    }
    println!("{}", bytes / targets.len());
    Ok(())
}

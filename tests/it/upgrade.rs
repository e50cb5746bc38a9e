//! One server after the other on one listening socket, which somebody else holds open as systemd does: nobody who
//! comes meanwhile is refused, and whoever is there is answered.

use std::{
    fs,
    net::TcpListener,
    os::{
        fd::{AsRawFd as _, OwnedFd},
        unix::net::{UnixDatagram, UnixListener},
    },
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tempfile::TempDir;
use tokio::{io::AsyncWriteExt as _, net::TcpStream, task::JoinSet, time::sleep};

use crate::support::{Bucket, PATIENCE, Reply, TestApp, free_address, jpeg, serve_command, until};

/// The same command with a socket handed over by systemd's protocol (`sd_listen_fds(3)`): the process's own id and
/// descriptor 3, which is why a shell has to do it.
fn given(socket: impl Into<OwnedFd>, names: &str, command: &Command) -> Command {
    let script =
        "exec 3<&0; [ $LISTEN_FDS = 1 ] || exec 4<&0; exec </dev/null; export LISTEN_PID=$$; exec \"$@\"";
    let mut shell = Command::new("sh");
    shell.args(["-c", script, "sh"]).arg(command.get_program()).args(command.get_args()).env_clear();
    shell.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let count = names.split(':').count().to_string();
    shell.envs([("LISTEN_FDS", &*count), ("LISTEN_FDNAMES", names)]).stdin(Stdio::from(socket.into()));
    shell
}

/// A `pinhole serve` on a socket.
fn serve_given(socket: &TcpListener, data: TempDir, bucket: &Arc<Bucket>, env: &[(&str, &str)]) -> TestApp {
    let mut command = serve_command(data.path(), bucket);
    command.envs(env.iter().copied());
    let command = given(socket.try_clone().unwrap(), "pinhole.socket", &command);
    let app = TestApp::serve_by(command, data, bucket);
    assert_eq!(app.url, format!("http://{}", socket.local_addr().unwrap()), "it listens elsewhere");
    app
}

fn socket() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").unwrap()
}

/// One request on a connection.
async fn ask(stream: &mut TcpStream, path: &str) -> Reply {
    let request = format!("GET {path} HTTP/1.1\r\nHost: pinhole\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("the connection is open");
    tokio::time::timeout(PATIENCE, Reply::read(stream)).await.expect("an answer in time").expect(200)
}

/// People who ask without a pause: half of them on a new connection each time, and half on one that they keep until
/// they are told that it ends. None of them asks a second time.
struct Crowd {
    goes_on: Arc<AtomicBool>,
    answers: Arc<AtomicUsize>,
    people: JoinSet<()>,
}

impl Crowd {
    fn gather(socket: &TcpListener, path: &str) -> Self {
        let (goes_on, answers) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicUsize::new(0)));
        let (address, mut people) = (socket.local_addr().unwrap(), JoinSet::new());
        for number in 0..8 {
            let (goes_on, answers, path) = (Arc::clone(&goes_on), Arc::clone(&answers), path.to_owned());
            people.spawn(async move {
                let mut kept = None;
                while goes_on.load(Ordering::Relaxed) {
                    let mut stream = match kept.take() {
                        Some(stream) => stream,
                        None => TcpStream::connect(address).await.expect("nobody is refused"),
                    };
                    let reply = ask(&mut stream, &path).await;
                    answers.fetch_add(1, Ordering::Relaxed);
                    kept = (number % 2 == 0 && reply.header("connection") != "close").then_some(stream);
                }
            });
        }
        Self { goes_on, answers, people }
    }

    /// Waits until so many more were answered, or somebody was not.
    async fn answered(&mut self, more: usize) {
        let enough = self.answers.load(Ordering::Relaxed) + more;
        let counted = async {
            while self.answers.load(Ordering::Relaxed) < enough {
                if let Some(Err(lost)) = self.people.try_join_next() {
                    panic!("{lost}");
                }
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        tokio::time::timeout(PATIENCE, counted).await.expect("answers go on");
    }

    /// Nobody was left without an answer.
    async fn go_home(mut self) {
        self.goes_on.store(false, Ordering::Relaxed);
        while let Some(person) = self.people.join_next().await {
            person.unwrap();
        }
    }
}

const SERVED: &str = "pinhole_http_requests_total{route=\"image\",status=\"200\"}";

#[tokio::test(flavor = "multi_thread")]
#[ignore = "it needs tests/with-postgres"]
async fn a_new_version_takes_over_and_not_one_request_fails() {
    let ledger = TestApp::start();
    let image = ledger.upload("alice", jpeg(64, 48, 1)).await;
    ledger.create_post("alice", "public", &[&image]).await;
    let socket = socket();
    let another = || {
        let data = tempfile::tempdir().unwrap();
        std::fs::copy(ledger.data().join("database"), data.path().join("database")).unwrap();
        serve_given(&socket, data, &ledger.bucket(), &[])
    };
    let mut old = another();
    let mut crowd = Crowd::gather(&socket, &format!("/i/{image}/w=32"));
    for _ in 0..5 {
        crowd.answered(200).await;
        let new = another();
        // Both are there.
        crowd.answered(200).await;
        assert!(old.metric(SERVED).await > 0.0);
        old.signal("TERM");
        crowd.answered(200).await;
        assert_eq!(tokio::task::block_in_place(|| old.wait()), Some(0));
        crowd.answered(200).await;
        assert!(new.metric(SERVED).await > 0.0);
        old = new;
    }
    crowd.go_home().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_only_server_starts_anew_everybody_waits_and_nobody_is_refused() {
    let (socket, bucket) = (socket(), Bucket::of_dev());
    let mut app = serve_given(&socket, tempfile::tempdir().unwrap(), &bucket, &[]);
    let image = app.upload("alice", jpeg(64, 48, 1)).await;
    app.create_post("alice", "public", &[&image]).await;
    let path = format!("/i/{image}/w=32");
    let mut crowd = Crowd::gather(&socket, &path);
    for _ in 0..3 {
        crowd.answered(100).await;
        app.signal("TERM");
        assert_eq!(tokio::task::block_in_place(|| app.wait()), Some(0));
        // There is none now, and yet they come.
        let mut waiting = Vec::new();
        for _ in 0..20 {
            waiting.push(TcpStream::connect(socket.local_addr().unwrap()).await.expect("nobody is refused"));
        }
        app = serve_given(&socket, app.kill(), &bucket, &[]);
        for stream in &mut waiting {
            ask(stream, &path).await;
        }
    }
    crowd.answered(100).await;
    crowd.go_home().await;
}

/// Whether a process has the socket open.
fn is_held_by(socket: &TcpListener, pid: u32) -> bool {
    let inode = fs::read_link(format!("/proc/self/fd/{}", socket.as_raw_fd())).unwrap();
    let open = fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
    open.filter_map(|fd| fs::read_link(fd.ok()?.path()).ok()).any(|name| name == inode)
}

#[tokio::test]
async fn whoever_is_connected_at_the_stop_is_answered_once_more() {
    let socket = socket();
    let env = [("PINHOLE_SERVER__LINGER_SECS", "20")];
    let mut app = serve_given(&socket, tempfile::tempdir().unwrap(), &Bucket::of_dev(), &env);
    let mut connected = Vec::new();
    for has_asked in [true, false] {
        let mut stream = TcpStream::connect(socket.local_addr().unwrap()).await.unwrap();
        if has_asked {
            let reply = ask(&mut stream, "/openapi.json").await;
            assert_eq!(reply.header("connection"), "");
        }
        connected.push(stream);
    }
    // It has taken the second one, too: it serves in turn.
    for _ in 0..8 {
        ask(&mut TcpStream::connect(socket.local_addr().unwrap()).await.unwrap(), "/openapi.json").await;
    }
    app.signal("TERM");
    // On the operations listener it says that it has understood.
    let readyz = format!("{}/readyz", app.ops_url);
    until("it drains", async || app.get(&readyz).send().await.status == 503).await;
    // And here that it takes no more.
    while is_held_by(&socket, app.pid()) {
        sleep(Duration::from_millis(1)).await;
    }
    let mut late = TcpStream::connect(socket.local_addr().unwrap()).await.unwrap();
    for stream in &mut connected {
        let reply = ask(stream, "/openapi.json").await;
        assert_eq!(reply.header("connection"), "close");
    }
    drop(connected);
    assert_eq!(app.wait(), Some(0));
    // Whoever came later is the next one's.
    let next = serve_given(&socket, app.kill(), &Bucket::of_dev(), &[]);
    ask(&mut late, "/openapi.json").await;
    drop(next);
}

#[tokio::test]
async fn operators_whom_another_can_answer_are_left_to_him_at_once() {
    let (ops, data, bucket) = (socket(), tempfile::tempdir().unwrap(), Bucket::of_dev());
    let mut command = serve_command(data.path(), &bucket);
    command.env("PINHOLE_SERVER__LINGER_SECS", "20");
    let command = given(ops.try_clone().unwrap(), "ops", &command);
    let mut app = TestApp::serve_by(command, data, &bucket);
    let mut connected = TcpStream::connect(&app.url["http://".len()..]).await.unwrap();
    ask(&mut connected, "/openapi.json").await;
    app.signal("TERM");
    until("it answers no more operators", async || !is_held_by(&ops, app.pid())).await;
    // Though it is not at its end.
    let reply = ask(&mut connected, "/openapi.json").await;
    assert_eq!(reply.header("connection"), "close");
    drop(connected);
    assert_eq!(app.wait(), Some(0));
}

#[tokio::test]
async fn systemd_is_told_when_it_is_ready_and_when_it_stops() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    let notices = UnixDatagram::bind(&path).unwrap();
    notices.set_read_timeout(Some(PATIENCE)).unwrap();
    let next = || {
        let mut notice = [0; 256];
        let bytes = notices.recv(&mut notice).expect("a notice");
        String::from_utf8_lossy(&notice[..bytes]).trim().to_owned()
    };
    let mut app = TestApp::serve_with(&[("NOTIFY_SOCKET", path.to_str().unwrap())]);
    assert_eq!(next(), "READY=1");
    // A reload, even with nothing to read again, ends nothing.
    app.signal("HUP");
    app.get("/openapi.json").send().await.expect(200);
    app.signal("TERM");
    assert_eq!(next(), "STOPPING=1");
    assert_eq!(app.wait(), Some(0));
}

/// By the tool that comes with systemd, and with a socket for the operations listener.
#[tokio::test]
async fn both_listeners_may_be_systemds_sockets() {
    let bucket = Bucket::of_dev();
    let data = tempfile::tempdir().unwrap();
    let [main, ops] = [free_address(), free_address()].map(|address| address.to_string());
    let command = serve_command(data.path(), &bucket);
    let mut activated = Command::new("systemd-socket-activate");
    activated.args(["-l", &main, "-l", &ops, "--fdname=main:ops"]).env_clear();
    // It gives on nothing but what it is told.
    for (name, value) in command.get_envs() {
        activated.arg("-E").arg(format!("{}={}", name.to_str().unwrap(), value.unwrap().to_str().unwrap()));
    }
    activated.arg(command.get_program()).args(command.get_args());
    // It starts the program at the first connection.
    let first = main.clone();
    let first = std::thread::spawn(move || {
        loop {
            match std::net::TcpStream::connect(&first) {
                Ok(stream) => return stream,
                Err(_) => std::thread::sleep(Duration::from_millis(10)),
            }
        }
    });
    let app = TestApp::serve_by(activated, data, &bucket);
    assert_eq!((&app.url, &app.ops_url), (&format!("http://{main}"), &format!("http://{ops}")));
    app.get("/openapi.json").send().await.expect(200);
    app.get(&format!("{ops}/livez", ops = app.ops_url)).send().await.expect(200);
    let stream = first.join().unwrap();
    stream.set_nonblocking(true).unwrap();
    ask(&mut TcpStream::from_std(stream).unwrap(), "/openapi.json").await;
}

#[test]
fn a_socket_that_is_of_no_use_is_named_with_the_mend() {
    let (folder, bucket) = (tempfile::tempdir().unwrap(), Bucket::of_dev());
    let refused = |socket: OwnedFd, names: &str| {
        let output = given(socket, names, &serve_command(folder.path(), &bucket)).output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8(output.stderr).unwrap()
    };
    let unix = UnixListener::bind(folder.path().join("socket")).unwrap();
    let error = refused(unix.into(), "pinhole.socket");
    assert!(
        error.contains("\"pinhole.socket\" is none of TCP") && error.contains("ListenStream="),
        "{error}"
    );
    let error = refused(socket().into(), "one:two");
    assert!(error.contains("\"two\" is one too many") && error.contains("FileDescriptorName=ops"), "{error}");
    let listener = socket();
    let connection = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let error = refused(connection.into(), "pinhole.socket");
    assert!(error.contains("does not listen") && error.contains("Accept=no"), "{error}");
}

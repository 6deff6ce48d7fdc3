//! An agent that answers as a test tells it to: a unix socket, a thread, and a list of what was asked.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use serde_json::Value;

/// Path and body of a request to HTTP status and body of the answer.
type Answer = dyn Fn(&str, &Value) -> (u16, Value) + Send + Sync;

/// The agent; it is gone when this is dropped.
pub(crate) struct FakeAgent {
    /// Its socket.
    pub(crate) socket: PathBuf,
    asked: Arc<Mutex<Vec<(String, Value)>>>,
    ending: Arc<Mutex<bool>>,
    thread: Option<JoinHandle<()>>,
}

impl FakeAgent {
    /// Listens in `folder` and answers with `answer`.
    pub(crate) fn start(
        folder: &Path,
        answer: impl Fn(&str, &Value) -> (u16, Value) + Send + Sync + 'static,
    ) -> FakeAgent {
        let socket = folder.join("agent.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let ending = Arc::new(Mutex::new(false));
        let answer: Arc<Answer> = Arc::new(answer);
        let (asked2, ending2) = (Arc::clone(&asked), Arc::clone(&ending));
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if *ending2.lock().unwrap() {
                    break;
                }
                let (answer, asked) = (Arc::clone(&answer), Arc::clone(&asked2));
                let stream = stream.unwrap();
                std::thread::spawn(move || serve(stream, answer.as_ref(), &asked));
            }
        });
        FakeAgent {
            socket,
            asked,
            ending,
            thread: Some(thread),
        }
    }

    /// Paths of the requests so far, in order, each with its body.
    pub(crate) fn asked(&self) -> Vec<(String, Value)> {
        self.asked.lock().unwrap().clone()
    }
}

impl Drop for FakeAgent {
    fn drop(&mut self) {
        *self.ending.lock().unwrap() = true;
        // The listener waits for a connection: this is the last one.
        let _ = UnixStream::connect(&self.socket);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        let _ = std::fs::remove_file(&self.socket);
    }
}

/// One request a connection, as our client does.
fn serve(stream: UnixStream, answer: &Answer, asked: &Mutex<Vec<(String, Value)>>) -> Option<()> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let path = line.split(' ').nth(1)?.to_owned();
    let mut length = 0;
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).ok()?;
        if header.trim().is_empty() {
            break;
        }
        if let Some(value) = header.to_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let body: Value = serde_json::from_slice(&body).unwrap_or(Value::Null);
    asked.lock().unwrap().push((path.clone(), body.clone()));
    let (status, reply) = answer(&path, &body);
    let reply = reply.to_string();
    let mut stream = stream;
    write!(
        stream,
        "HTTP/1.1 {status} Answer\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{reply}",
        reply.len()
    )
    .ok()
}

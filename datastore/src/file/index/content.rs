//! One file as it was last read: its stamp, its objects and its faults.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::Value;

use super::own;
use crate::manifest::{self, Manifest};
use crate::store::{Key, Kind, Object, Revision, StoreError};

/// Larger files are a fault: nobody writes them by hand.
const SIZE_MAX: u64 = 64 << 20;

/// Kernels count a file's times in ticks: two changes within one tick may look the same. A stamp this young
/// is not trusted.
const TICK_MAX: Duration = Duration::from_millis(20);

/// A file that is written in place is left alone until it has not changed for that long…
const QUIET: Duration = Duration::from_millis(100);
/// …but nobody may keep readers waiting for longer.
const QUIET_PATIENCE: Duration = Duration::from_secs(1);

/// Tells whether a file is the one that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
    young: bool,
}

/// What is known of a file.
#[derive(Debug, Clone)]
pub(crate) struct Content {
    /// `None` when it must be read again in any case.
    pub(crate) stamp: Option<Stamp>,
    /// Of the text.
    pub(crate) hash: u128,
    pub(crate) entries: BTreeMap<Key, Entry>,
    pub(crate) faults: Vec<StoreError>,
    /// The text as a whole could not be read, so nothing in it may be rewritten.
    pub(crate) broken: bool,
    /// One object of ours and nothing else, so that it can be replaced without looking at the text.
    pub(crate) plain: bool,
}

/// An object in a file.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    /// Kept once, here and where objects are found by key.
    pub(crate) object: Arc<Object>,
    pub(crate) line: usize,
    /// What the file says by now is wrong; this is the last good state.
    pub(crate) stale: bool,
}

/// What came of reading a file again.
pub(crate) enum Reading {
    /// The same text.
    Same(Stamp),
    New(Box<Content>),
    /// One object of this kind, which nobody has asked for.
    Unasked(Kind, Stamp),
}

impl Stamp {
    pub(crate) fn of(path: &Path) -> io::Result<Stamp> {
        Stamp::with_age(path).map(|(stamp, _)| stamp)
    }

    fn with_age(path: &Path) -> io::Result<(Stamp, Duration)> {
        let metadata = fs::metadata(path)?;
        let seconds = metadata.mtime().max(metadata.ctime());
        let newest = UNIX_EPOCH + Duration::from_secs(u64::try_from(seconds).unwrap_or(0));
        let nanos = if metadata.mtime() >= metadata.ctime() {
            metadata.mtime_nsec()
        } else {
            metadata.ctime_nsec()
        };
        let newest = newest + Duration::from_nanos(u64::try_from(nanos).unwrap_or(0));
        let age = SystemTime::now().duration_since(newest).unwrap_or_default();
        if !metadata.is_file() {
            return Err(io::Error::other("it is not a regular file"));
        }
        let stamp = Stamp {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
            young: age < TICK_MAX,
        };
        Ok((stamp, age))
    }

    /// Waits while the file is being written in place. Many editors, and `cp`, empty a file before they write it anew, and half
    /// a text can be a good one with half of its objects.
    pub(crate) fn of_quiet(path: &Path, before: &Stamp) -> io::Result<Stamp> {
        let deadline = Instant::now() + QUIET_PATIENCE;
        let mut emptied = false;
        loop {
            let (stamp, mut age) = Stamp::with_age(path)?;
            // The kernel empties a file before it sets its time: this one may look old, and has just been emptied.
            if !emptied && stamp.size != before.size && stamp.modified == before.modified {
                emptied = true;
                age = Duration::ZERO;
            }
            // Whoever replaces a file has another one.
            let same_file = (stamp.device, stamp.inode) == (before.device, before.inode);
            let same_text = (stamp.size, stamp.modified) == (before.size, before.modified);
            if !same_file || same_text || age >= QUIET || Instant::now() >= deadline {
                return Ok(stamp);
            }
            std::thread::sleep(QUIET - age);
        }
    }

    /// Whether a file that looked like this says the same now that it looks like the other.
    pub(super) fn is_still(&self, now: &Stamp) -> bool {
        !self.young && now.is_same(self)
    }

    fn is_same(&self, other: &Stamp) -> bool {
        let young = other.young;
        Stamp {
            young,
            ..self.clone()
        } == *other
    }
}

impl Content {
    /// Whether a file with this stamp still says the same.
    pub(crate) fn is_still(&self, stamp: &Stamp) -> bool {
        let known = self.stamp.as_ref();
        known.is_some_and(|known| known.is_still(stamp))
    }

    /// Something of it is missing or cannot be read any more, as in half a file.
    pub(crate) fn says_less_than(&self, known: &Content) -> bool {
        let mut before = known.entries.keys();
        !self.faults.is_empty() || before.any(|key| !self.entries.contains_key(key))
    }

    /// What is left of a file that cannot be read: its last good objects.
    pub(crate) fn unreadable(
        stamp: Option<Stamp>,
        fault: StoreError,
        known: Option<&Content>,
    ) -> Content {
        Content {
            stamp,
            hash: 0,
            entries: known.map(stale_entries).unwrap_or_default(),
            faults: vec![fault],
            broken: true,
            plain: false,
        }
    }

    /// What a text says, with the last good state in place of what it no longer says well.
    pub(crate) fn of_text(
        origin: &str,
        text: &str,
        stamp: Option<Stamp>,
        known: Option<&Content>,
    ) -> Content {
        let parsed = manifest::parse(origin, text);
        let plain = parsed.faults.is_empty()
            && parsed.passed_over.is_empty()
            && matches!(parsed.manifests.as_slice(), [only] if only.plain && only.document.start == 0);
        let mut content = Content {
            stamp,
            hash: hash128(text.as_bytes()),
            entries: BTreeMap::new(),
            faults: Vec::new(),
            broken: parsed.faults.iter().any(|fault| fault.key.is_none()),
            plain,
        };
        for manifest in parsed.manifests {
            content.add(origin, manifest);
        }
        for fault in parsed.faults {
            if let Some(key) = &fault.key
                && !content.entries.contains_key(key)
                && let Some(last_good) = known.and_then(|known| known.entries.get(key))
            {
                let mut entry = last_good.clone();
                entry.stale = true;
                content.entries.insert(key.clone(), entry);
            }
            content.faults.push(fault.error);
        }
        if content.broken
            && let Some(known) = known
            && !known.entries.is_empty()
        {
            content.entries = stale_entries(known);
        }
        content
    }

    /// A file that we wrote ourselves: the manifest of one object.
    pub(crate) fn of_object(text: &str, mut object: Object, stamp: Option<Stamp>) -> Content {
        // As it would be read back.
        object.metadata.name.clone_from(&object.key.name);
        object.metadata.namespace.clone_from(&object.key.namespace);
        object.revision = Some(revision_of(&object));
        let entry = Entry {
            object: Arc::new(object),
            line: 1,
            stale: false,
        };
        Content {
            stamp,
            hash: hash128(text.as_bytes()),
            entries: BTreeMap::from([(entry.object.key.clone(), entry)]),
            faults: Vec::new(),
            broken: false,
            plain: true,
        }
    }

    fn add(&mut self, origin: &str, manifest: Manifest) {
        let mut object = manifest.object;
        if let Some(first) = self.entries.get(&object.key) {
            self.faults.push(StoreError::Invalid {
                what: format!("{origin}:{}: {}", manifest.line, object.key),
                why: format!("stands on line {} too, which counts", first.line),
            });
            return;
        }
        object.revision = Some(revision_of(&object));
        self.entries.insert(
            object.key.clone(),
            Entry {
                object: Arc::new(object),
                line: manifest.line,
                stale: false,
            },
        );
    }
}

fn stale_entries(known: &Content) -> BTreeMap<Key, Entry> {
    let entries = known.entries.iter();
    entries
        .map(|(key, entry)| {
            let mut entry = entry.clone();
            entry.stale = true;
            (key.clone(), entry)
        })
        .collect()
}

/// Reads a file whose stamp differs from what is known; not to its end where nobody has asked for its kind.
pub(crate) fn read(
    path: &Path,
    folder: &Path,
    stamp: Stamp,
    known: Option<&Content>,
    is_asked: impl Fn(Kind) -> bool,
) -> io::Result<Reading> {
    let origin = shown(path, folder);
    let fault = |why: String| StoreError::Invalid {
        what: origin.clone(),
        why,
    };
    if stamp.size > SIZE_MAX {
        let fault = fault(format!("{} bytes are too much for one file", stamp.size));
        let content = Content::unreadable(Some(stamp), fault, known);
        return Ok(Reading::New(Box::new(content)));
    }
    let mut bytes = Vec::new();
    File::open(path)?.take(SIZE_MAX).read_to_end(&mut bytes)?;
    if known.is_some_and(|known| known.stamp.is_some() && known.hash == hash128(&bytes)) {
        return Ok(Reading::Same(stamp));
    }
    if let Some(kind) = own::kind_of(path, folder, &bytes)
        && !is_asked(kind)
    {
        return Ok(Reading::Unasked(kind, stamp));
    }
    let content = match String::from_utf8(bytes) {
        Ok(text) => Content::of_text(&origin, &text, Some(stamp), known),
        Err(error) => {
            let at = error.utf8_error().valid_up_to();
            let line = error.as_bytes()[..at]
                .iter()
                .filter(|b| **b == b'\n')
                .count()
                + 1;
            let fault = StoreError::Invalid {
                what: format!("{origin}:{line}"),
                why: "not YAML: the text is not UTF-8".to_owned(),
            };
            Content::unreadable(Some(stamp), fault, known)
        }
    };
    Ok(Reading::New(Box::new(content)))
}

/// A file's name as people know it: relative to the folder.
pub(crate) fn shown(path: &Path, folder: &Path) -> String {
    let relative = path.strip_prefix(folder).unwrap_or(path);
    relative.display().to_string()
}

/// The revision of an object: a hash of what it says, however it is written.
pub(crate) fn revision_of(object: &Object) -> Revision {
    let mut hash = Fnv128::new();
    // Metadata has string keys only, so it always has a JSON form.
    let metadata = serde_json::to_value(&object.metadata).unwrap_or(Value::Null);
    hash.value(&metadata);
    hash.value(&object.spec);
    Revision(format!("{:032x}", hash.0))
}

/// Of a text.
pub(crate) fn hash128(bytes: &[u8]) -> u128 {
    let mut hash = Fnv128::new();
    hash.bytes(bytes);
    hash.0
}

/// FNV-1a with 128 bits: short, fast enough for manifests, and the same in every build, which matters
/// because processes compare revisions with one another. Nobody attacks it: who can write the files can
/// also just write the files.
struct Fnv128(u128);

impl Fnv128 {
    fn new() -> Fnv128 {
        Fnv128(0x6c62_272e_07bb_0142_62b8_2175_6295_c58d)
    }

    fn bytes(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u128::from(*byte)).wrapping_mul(0x0100_0000_0000_0000_0000_013b);
        }
    }

    /// Each value is told apart from its neighbours by a leading tag and its length.
    fn value(&mut self, value: &Value) {
        match value {
            Value::Null => self.bytes(b"n"),
            Value::Bool(true) => self.bytes(b"t"),
            Value::Bool(false) => self.bytes(b"f"),
            Value::Number(number) => self.text(b'#', &number.to_string()),
            Value::String(text) => self.text(b'"', text),
            Value::Array(items) => {
                self.text(b'[', &items.len().to_string());
                for item in items {
                    self.value(item);
                }
            }
            Value::Object(fields) => {
                self.text(b'{', &fields.len().to_string());
                let sorted: BTreeMap<&String, &Value> = fields.iter().collect();
                for (name, value) in sorted {
                    self.text(b'.', name);
                    self.value(value);
                }
            }
        }
    }

    fn text(&mut self, tag: u8, text: &str) {
        self.bytes(&[tag]);
        self.bytes(&text.len().to_le_bytes());
        self.bytes(text.as_bytes());
    }
}

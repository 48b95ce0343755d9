//! The real program in a real terminal, read through a terminal emulator.
//!
//! Nothing here waits a fixed time: each step waits until the screen shows
//! what it should, or fails after a bound that only a broken program reaches.

use std::io::{Read, Write};
use std::num::NonZeroU16;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ExitStatus};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// How long the program may take for anything, on a machine under load.
const PATIENCE: Duration = Duration::from_secs(60);

fn cells(count: u16) -> NonZeroU16 {
    NonZeroU16::new(count).expect("some")
}

/// The program on a terminal of its own.
struct Screen {
    child: Child,
    pty: pty_process::blocking::Pty,
    bytes: Receiver<Vec<u8>>,
    terminal: vt100::Parser,
    /// Everything that came, for what the emulator does not keep.
    raw: Vec<u8>,
    /// Its home folder, which goes with it.
    _folder: tempfile::TempDir,
}

impl Screen {
    fn start(rows: u16, columns: u16, arguments: &[&str], environment: &[(&str, &str)]) -> Self {
        Self::start_in(
            tempfile::tempdir().expect("a folder"),
            rows,
            columns,
            arguments,
            environment,
        )
    }

    /// With a home folder that was prepared.
    fn start_in(
        folder: tempfile::TempDir,
        rows: u16,
        columns: u16,
        arguments: &[&str],
        environment: &[(&str, &str)],
    ) -> Self {
        let program = pty_process::blocking::Command::new(env!("CARGO_BIN_EXE_pvdeck"));
        Self::start_program(program, folder, rows, columns, arguments, environment)
    }

    fn start_program(
        program: pty_process::blocking::Command,
        folder: tempfile::TempDir,
        rows: u16,
        columns: u16,
        arguments: &[&str],
        environment: &[(&str, &str)],
    ) -> Self {
        let (pty, pts) = pty_process::blocking::open().expect("a terminal");
        pty.resize(pty_process::Size::new(rows, columns)).expect("a size");
        let home = folder.path().to_str().expect("a path");
        let mut command = program
            .args(arguments)
            .env_clear()
            .env("HOME", home)
            .env("PATH", "/usr/bin:/bin")
            .env("TERM", "xterm-256color")
            .env("RUST_BACKTRACE", "0");
        for (name, value) in environment {
            command = command.env(name, value);
        }
        let child = command.spawn(pts).expect("starts");
        let mut reader = std::fs::File::from(
            std::os::fd::AsFd::as_fd(&pty).try_clone_to_owned().expect("a copy"),
        );
        let (send, bytes) = channel();
        std::thread::spawn(move || {
            let mut buffer = [0; 65_536];
            // The terminal is gone when the program has ended.
            while let Ok(count @ 1..) = reader.read(&mut buffer) {
                if send.send(buffer[..count].to_vec()).is_err() {
                    return;
                }
            }
        });
        let terminal = vt100::Parser::new(cells(rows), cells(columns), 0);
        Self { child, pty, bytes, terminal, raw: Vec::new(), _folder: folder }
    }

    fn text(&self) -> String {
        self.terminal.screen().contents()
    }

    /// Takes in what comes, until it stops coming for a moment or `until`.
    fn take(&mut self, until: Instant) -> bool {
        let left = until.saturating_duration_since(Instant::now());
        match self.bytes.recv_timeout(left) {
            Ok(bytes) => {
                self.raw.extend_from_slice(&bytes);
                self.terminal.process(&bytes);
                true
            }
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => false,
        }
    }

    #[track_caller]
    fn shows(&mut self, wanted: &str) -> &mut Self {
        self.settles(wanted, |text| text.contains(wanted))
    }

    #[track_caller]
    fn settles(&mut self, what: &str, holds: impl Fn(&str) -> bool) -> &mut Self {
        let until = Instant::now() + PATIENCE;
        while !holds(&self.text()) {
            if !self.take(until) {
                panic!("never: {what}\n{}", self.text());
            }
        }
        self
    }

    fn press(&mut self, keys: &str) -> &mut Self {
        self.pty.write_all(keys.as_bytes()).expect("the terminal takes keys");
        self
    }

    /// Waits for the end of the program; all that it wrote is taken in.
    fn end(&mut self) -> ExitStatus {
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().expect("a child") {
                let rest = Instant::now() + Duration::from_millis(300);
                while self.take(rest) {}
                return status;
            }
            assert!(Instant::now() < until, "it does not end\n{}", self.text());
            self.take(Instant::now() + Duration::from_millis(50));
        }
    }

    fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).expect("is there");
    }

    /// The terminal is as it was before the program: the other screen left, the
    /// cursor shown, pasting and focus reports off.
    #[track_caller]
    fn is_restored(&self) {
        let screen = self.terminal.screen();
        assert!(!screen.alternate_screen(), "still on the alternate screen");
        assert!(!screen.hide_cursor(), "the cursor is hidden");
        assert!(!screen.bracketed_paste(), "pasting is bracketed");
        let settings = rustix::termios::tcgetattr(&self.pty).expect("settings");
        assert!(settings.local_modes.contains(rustix::termios::LocalModes::ECHO), "no echo");
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // It has ended already, or a test failed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn scenario_is_stepped_with_keys_to_its_end() {
    let mut screen = Screen::start(24, 80, &["--demo"], &[]);
    screen.shows("An NFS volume finds its claim").press("p").shows("PAUSED");
    screen.shows("NEXT");
    // Write by write, until the claim is bound.
    for _ in 0..40 {
        if screen.text().contains("media Bound") && screen.text().contains("nfs-media Bound") {
            break;
        }
        let before = screen.text();
        screen.press("n").settles("a step to happen", |text| text != before);
    }
    screen.shows("nfs-media Bound");
    screen.press("r").shows("RUNNING");
    screen.press(":pvc\r").shows("nfs-media").shows("Bound");
    screen.press("\r").shows("both name each other");
    screen.press("w").shows("it fits and is reserved");
    screen.press("\x1b:timeline\r").shows("persistent-");
    screen.press("\x03");
    assert!(screen.end().success());
    screen.is_restored();
}

#[test]
fn resize_is_followed_and_too_small_a_terminal_is_told() {
    let mut screen = Screen::start(24, 80, &["--demo"], &[]);
    screen.shows("pvdeck");
    screen.pty.resize(pty_process::Size::new(10, 40)).expect("a size");
    screen.terminal.screen_mut().set_size(cells(10), cells(40));
    screen.shows("pvdeck needs 60x15");
    screen.pty.resize(pty_process::Size::new(40, 120)).expect("a size");
    screen.terminal.screen_mut().set_size(cells(40), cells(120));
    screen.shows("finds its claim");
    screen.press("\x03");
    assert!(screen.end().success());
}

#[test]
fn signals_end_it_and_give_the_terminal_back() {
    for (signal, code) in
        [(rustix::process::Signal::TERM, 143), (rustix::process::Signal::HUP, 129)]
    {
        let mut screen = Screen::start(24, 80, &["--demo"], &[]);
        screen.shows("pvdeck");
        screen.signal(signal);
        let status = screen.end();
        assert_eq!(status.code(), Some(code), "{signal:?} {:?}", status.signal());
        screen.is_restored();
    }
}

#[test]
fn suspending_gives_the_terminal_back_and_going_on_takes_it() {
    const LEFT: &str = "\x1b[?1049l";
    let mut screen = Screen::start(24, 80, &["--demo"], &[]);
    screen.shows("pvdeck").press("\x1a");
    // Nobody is there to suspend to, so the kernel lets it go on at once.
    let until = Instant::now() + PATIENCE;
    while !String::from_utf8_lossy(&screen.raw).contains(LEFT) {
        assert!(screen.take(until), "the terminal is not given back");
    }
    screen.signal(rustix::process::Signal::CONT);
    screen.shows("pvdeck").press("?").shows("THE OBJECT UNDER THE CURSOR").press("\x03");
    assert!(screen.end().success());
    screen.is_restored();
}

#[test]
#[ignore = "run by the next test, on a terminal of its own"]
fn child_that_panics_with_the_screen_up() {
    // The harness names its threads for their tests; the console's is `main`.
    let console = std::thread::Builder::new().name("main".into()).spawn(|| {
        let folder = std::path::PathBuf::from(std::env::var_os("HOME").expect("a folder"));
        pvdeck::panic_report::install(&folder).expect("installed");
        let tty = pvdeck::ui::terminal::Tty::take().expect("a terminal");
        let _told = pvdeck::ui::app::panics::install(&tty);
        panic!("the screen broke");
    });
    let _ = console.expect("a thread").join();
    // The harness may go on printing: the test is what is on the screen now.
    std::process::exit(101);
}

#[test]
fn panic_gives_the_terminal_back_and_leaves_a_readable_report() {
    let home = tempfile::tempdir().expect("a folder");
    let place = home.path().join("panic.txt");
    let own = std::env::current_exe().expect("this test");
    let program = pty_process::blocking::Command::new(own);
    let name = "console::terminal::child_that_panics_with_the_screen_up";
    let arguments = ["--exact", name, "--ignored", "--nocapture"];
    let mut screen = Screen::start_program(program, home, 40, 120, &arguments, &[]);
    assert!(!screen.end().success());
    screen.is_restored();
    let text = screen.text();
    assert!(text.contains("the screen broke"), "{text}");
    let report = std::fs::read_to_string(place).expect("a report");
    assert!(report.contains("the screen broke"), "{report}");
}

#[test]
fn terminal_that_goes_away_ends_the_program() {
    let mut screen = Screen::start(24, 80, &["--demo"], &[]);
    screen.shows("pvdeck");
    let Screen { child, .. } = &mut screen;
    let mut child = std::mem::replace(
        child,
        std::process::Command::new("true").spawn().expect("true is there"),
    );
    // Dropping the screen closes the terminal's other end for good: nothing
    // else holds it once the reading thread has seen the end.
    let pty = std::os::fd::AsFd::as_fd(&screen.pty).try_clone_to_owned().expect("a copy");
    drop(screen);
    drop(pty);
    let until = Instant::now() + PATIENCE;
    while child.try_wait().expect("a child").is_none() {
        if Instant::now() > until {
            let _ = child.kill();
            panic!("it outlives its terminal");
        }
        std::thread::yield_now();
    }
}

#[test]
fn no_color_sends_no_colour_but_reverse() {
    let mut screen = Screen::start(24, 80, &["--demo"], &[("NO_COLOR", "1")]);
    screen.shows("finds its claim").press(":po\r:sc\r:pv\r").shows("nfs-media").press("\x03");
    screen.end();
    let text = String::from_utf8_lossy(&screen.raw);
    assert!(text.contains("\x1b[7m") || text.contains(";7m"), "no reverse");
    for sequence in text.split("\x1b[").skip(1) {
        let Some((codes, _)) = sequence.split_once('m') else { continue };
        let numbers = codes.split(';').filter_map(|code| code.parse::<u8>().ok());
        if codes.chars().all(|char| char.is_ascii_digit() || char == ';') {
            for number in numbers {
                assert!(!matches!(number, 30..=49 | 90..=107), "colour in {codes:?}");
            }
        }
    }
}

#[test]
fn default_colours_are_sent_in_short_codes() {
    let mut screen = Screen::start(24, 80, &["--demo", "--theme", "dark"], &[]);
    screen.shows("finds its claim").press(":pv\r").shows("nfs-media").press("\x03");
    screen.end();
    let text = String::from_utf8_lossy(&screen.raw);
    assert!(!text.contains("38;5;") && !text.contains("38;2;"), "long colour codes");
    assert!(text.contains("\x1b[32m") || text.contains(";32m"), "no green");
}

#[test]
fn ascii_terminal_gets_ascii() {
    let mut screen = Screen::start(24, 80, &["--demo", "--ascii"], &[]);
    screen.shows("finds its claim").press("?").shows("OBJECT UNDER").press("\x03");
    screen.end();
    let other: Vec<_> = screen.raw.iter().filter(|byte| !byte.is_ascii()).collect();
    assert!(other.is_empty(), "{} bytes beyond ASCII", other.len());
}

#[test]
fn without_a_terminal_it_says_what_to_use_instead() {
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_pvdeck"))
        .arg("--demo")
        .env("HOME", tempfile::tempdir().expect("a folder").path())
        .stdin(std::process::Stdio::null())
        .output()
        .expect("runs");
    assert_eq!(output.status.code(), Some(2));
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains("not a terminal") && text.contains("pvdeck serve"), "{text}");
}

#[test]
fn unknown_theme_is_told_on_a_restored_terminal() {
    let mut screen = Screen::start(24, 80, &["--demo", "--theme", "drak"], &[]);
    let status = screen.end();
    assert_eq!(status.code(), Some(2));
    screen.is_restored();
    assert!(screen.text().contains("no theme `drak`"), "{}", screen.text());
}

#[test]
fn theme_that_changes_is_taken_over_and_a_broken_one_told() {
    let home = tempfile::tempdir().expect("a folder");
    let themes = home.path().join(".config/pvdeck/themes");
    std::fs::create_dir_all(&themes).expect("a folder");
    let file = themes.join("mine.yaml");
    std::fs::write(&file, "styles:\n  title: {fg: light-magenta}\n").expect("written");
    let mut again = Screen::start_in(home, 24, 80, &["--demo", "--theme", "mine"], &[]);
    again.shows("pvdeck");
    let text = String::from_utf8_lossy(&again.raw).into_owned();
    assert!(text.contains("\x1b[95m"), "the theme's colour is not used");
    // A tick has to see the file before it can see it changed.
    let until = Instant::now() + Duration::from_millis(1_500);
    while again.take(until) {}
    std::fs::write(&file, "styles:\n  title: {fg: pink}\n").expect("written");
    again.shows("`pink`");
    again.press("\x03");
    assert!(again.end().success());
}

/// A claim of a disk, and a pod that mounts it.
const DISK: &str = r#"
title: A disk on its way to a pod
intro: A claim gets a disk, a pod gets the claim.
steps:
- caption: A claim of the disks' class, and a pod that uses it.
  actor: developer
  apply:
  - apiVersion: storage.k8s.io/v1
    kind: StorageClass
    metadata: {name: disks}
    provisioner: pvdeck.dev/block-disk
  - apiVersion: v1
    kind: PersistentVolumeClaim
    metadata: {name: data, namespace: default}
    spec:
      storageClassName: disks
      accessModes: [ReadWriteOnce]
      resources: {requests: {storage: 64Mi}}
  - apiVersion: v1
    kind: Pod
    metadata: {name: web-0, namespace: default}
    spec:
      nodeSelector: {kubernetes.io/hostname: node-1}
      containers:
      - name: app
        image: app
        volumeMounts: [{name: data, mountPath: /data}]
      volumes:
      - name: data
        persistentVolumeClaim: {claimName: data}
"#;

#[test]
fn board_follows_a_disk_to_its_pod_and_shows_its_files() {
    let home = tempfile::tempdir().expect("a folder");
    let file = home.path().join("disk.yaml");
    std::fs::write(&file, DISK).expect("written");
    let scenario = file.to_str().expect("a path").to_owned();
    let mut screen = Screen::start_in(home, 24, 80, &["--demo", "--scenario", &scenario], &[]);
    screen.shows("A disk on its way").press(":no\r").shows("node-1").press("\r");
    screen.shows("board of node-1").shows("mounted").shows("running");
    screen.shows("mkfs.ext4 -F -m0 /dev/loop").shows("web-0 gets  docker run -v");
    screen.press("o").shows("output on node-1").shows("mount -o bind").press("\x1b");
    screen.shows("desired/actual").press("f").shows("lost+found");
    screen.press("a").shows(":file ").press("note.txt kept\r").shows("created note.txt");
    screen.press("G\r").shows("file data:/note.txt").shows("kept").press("\x1b");
    screen.press(":pvc\r").shows("default").press("\r").shows("done, with check, format");
    screen.press("\x03");
    assert!(screen.end().success());
    screen.is_restored();
}

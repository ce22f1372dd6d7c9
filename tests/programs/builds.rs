//! Programs in unusual builds and places: with fat LTO, stripped, without unwinding, without the constructor; replaced
//! while they run; privileged; as a library that another program loads.

use crate::util::{NOBODY, could_not_run, is_root, unshare, within};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::LazyLock;

const LIMIT: u64 = 600; // seconds: the first test builds the programs

/// Builds the programs once, in a folder that stays for the next time.
static BUILT: LazyLock<PathBuf> = LazyLock::new(|| {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let test = std::env::current_exe().unwrap();
    let folder = test.ancestors().nth(3).unwrap().join("programs");
    std::fs::create_dir_all(&folder).unwrap();
    let write = |name: &str, text: String| {
        let path = folder.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        if std::fs::read_to_string(&path).ok().as_ref() != Some(&text) {
            std::fs::write(&path, text).unwrap();
        }
    };
    let package = |name: &str, targets: &str, features: &str| {
        let head = format!("[package]\nname = \"{name}\"\nversion = \"0.0.0\"\nedition = \"2024\"\n{targets}\n");
        let dependency = match features {
            "" => String::new(),
            features => format!("crossproc = {{ path = {root:?}, default-features = false, features = {features} }}\n"),
        };
        write(&format!("{name}/Cargo.toml"), format!("{head}[dependencies]\n{dependency}"));
    };
    let target = |kind: &str, name: &str| {
        let path = root.join(format!("tests/programs/sources/{name}.rs"));
        format!("[{kind}]\nname = \"{name}\"\npath = {path:?}")
    };
    package("program", &target("[bin]", "program"), "[\"auto\"]");
    package("plugin", &format!("{}\ncrate-type = [\"cdylib\"]", target("lib", "plugin")), "[\"auto\"]");
    package("loader", &target("[bin]", "loader"), "");
    let hard = "lto = \"fat\"\ncodegen-units = 1\npanic = \"abort\"\nstrip = true\n";
    let members = "members = [\"program\", \"plugin\", \"loader\"]\nresolver = \"3\"\n";
    write("Cargo.toml", format!("[workspace]\n{members}[profile.hard]\ninherits = \"release\"\n{hard}"));
    // A workspace of its own, or the features of the others would be its own too.
    package("manual", &format!("{}\n[workspace]", target("[bin]", "manual")), "[]");
    let build = |manifest: &str, options: &[&str]| {
        let lock = folder.join(manifest).with_file_name("Cargo.lock");
        std::fs::copy(root.join("Cargo.lock"), lock).unwrap();
        let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo.args(["build", "--quiet", "--manifest-path"]).arg(folder.join(manifest)).args(options);
        cargo.arg("--target-dir").arg(folder.join("target")).stdin(Stdio::null());
        assert!(cargo.status().unwrap().success(), "{cargo:?}");
    };
    build("Cargo.toml", &["--workspace"]);
    build("Cargo.toml", &["--package", "program", "--profile", "hard"]);
    build("manual/Cargo.toml", &[]);
    folder.join("target")
});

/// Runs a program; its lines, without what it says on its other stream.
fn run(command: &mut Command) -> String {
    command.stdin(Stdio::null()).stderr(Stdio::null());
    let output = loop {
        match command.output() {
            // A child that another test starts just now has the copy open for writing until it executes its own
            // program.
            Err(error) if error.kind() == std::io::ErrorKind::ExecutableFileBusy => std::thread::yield_now(),
            output => break output.unwrap(),
        }
    };
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{command:?}: {}\n{text}", output.status);
    text
}

/// A copy that a test may do with as it likes.
struct Copy(PathBuf);

impl Copy {
    fn of(program: &str, name: &str) -> Self {
        let path = BUILT.join(format!("{name}-{}", std::process::id()));
        std::fs::copy(BUILT.join(program), &path).unwrap();
        Copy(path)
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn all_is_well(args: &str) -> String {
    let result = "result: Ok(1)\nresult: Ok(1)\nvalue: 42\nclosure: Ok(Ok(2))\n";
    format!("{result}panic: (\"as it is\", true)\nargs: Ok(Ok({args}))\n")
}

#[test]
fn a_program_in_each_build() {
    within(LIMIT, || {
        for build in ["debug", "hard"] {
            let text = run(Command::new(BUILT.join(build).join("program")).args(["one", "two"]));
            assert_eq!(text, all_is_well("[\"one\", \"two\"]"), "{build}");
        }
    });
}

#[test]
fn a_program_that_is_replaced_or_removed_while_it_runs() {
    within(LIMIT, || {
        for build in ["debug/program", "hard/program"] {
            let copy = Copy::of(build, "replaced");
            let text = run(Command::new(&copy.0).arg("replaced").arg("/bin/false"));
            assert_eq!(
                text,
                all_is_well("[\"replaced\", \"/bin/false\"]"),
                "it executes what it is, not what is there"
            );
            let copy = Copy::of(build, "removed");
            assert_eq!(run(Command::new(&copy.0).arg("removed")), all_is_well("[\"removed\"]"));
        }
    });
}

/// Where the file system lies about which file the program is, another build answers.
#[test]
fn another_build_is_refused() {
    within(LIMIT, || {
        let program = BUILT.join("debug/program");
        let (other, unrelated) = (BUILT.join("debug/manual"), PathBuf::from("/bin/true"));
        for (instead, error) in [(other, "ImageChanged"), (unrelated, "NotHooked")] {
            let mut command = Command::new(&program);
            // SAFETY: system calls and files, in a child of a program whose other threads wait.
            unsafe {
                command.pre_exec(move || lie_about_proc(&instead));
            }
            command.stdin(Stdio::null()).stderr(Stdio::null());
            match command.output() {
                Ok(output) => {
                    let text = String::from_utf8_lossy(&output.stdout).into_owned();
                    assert!(text.starts_with(&format!("error: {error}\nerror: {error}\nvalue: 40\n")), "{text}");
                }
                Err(_) => return could_not_run("another build", "no mount namespace of its own"),
            }
        }
    });
}

/// A `/proc` in which this process is another program.
fn lie_about_proc(instead: &Path) -> std::io::Result<()> {
    use std::fs::{create_dir_all, read, write};
    let status = read("/proc/self/status")?;
    let boot = read("/proc/sys/kernel/random/boot_id")?;
    let stat = read("/proc/self/stat")?;
    if !unshare(libc::CLONE_NEWNS) {
        return Err(std::io::Error::last_os_error());
    }
    let (none, root, proc) = (c"none".as_ptr(), c"/".as_ptr(), c"/proc".as_ptr());
    // SAFETY: valid strings.
    let mounted = unsafe {
        libc::mount(none, root, std::ptr::null(), libc::MS_REC | libc::MS_PRIVATE, std::ptr::null()) == 0
            && libc::mount(none, proc, c"tmpfs".as_ptr(), 0, std::ptr::null()) == 0
    };
    if !mounted {
        return Err(std::io::Error::last_os_error());
    }
    create_dir_all("/proc/thread-self/ns")?;
    create_dir_all("/proc/self/ns")?;
    create_dir_all("/proc/sys/kernel/random")?;
    create_dir_all(format!("/proc/{}", std::process::id()))?;
    write(format!("/proc/{}/stat", std::process::id()), stat)?;
    write("/proc/sys/kernel/random/boot_id", boot)?;
    write("/proc/thread-self/status", &status)?;
    std::os::unix::fs::symlink(instead, "/proc/self/exe")
}

#[test]
fn a_privileged_program_starts_nothing() {
    use std::os::unix::fs::PermissionsExt;
    within(LIMIT, || {
        let copy = Copy::of("debug/program", "privileged");
        if !is_root() {
            return could_not_run("a setuid program", "only root can make one for another user");
        }
        std::fs::set_permissions(&copy.0, std::fs::Permissions::from_mode(0o4755)).unwrap();
        // Foreign values in its environment do not make it a server.
        let mut command = Command::new(&copy.0);
        command.uid(NOBODY).env("CROSSPROC_ROLE", "server");
        match command.stdin(Stdio::null()).stderr(Stdio::null()).output() {
            Ok(output) => {
                let text = String::from_utf8(output.stdout).unwrap();
                assert!(text.starts_with("error: Privileged\nerror: Privileged\nvalue: 40\n"), "{text}");
            }
            Err(error) => could_not_run("a setuid program", &error.to_string()),
        }
    });
}

#[test]
fn without_the_constructor_main_calls_init_or_gets_an_error() {
    within(LIMIT, || {
        let program = BUILT.join("debug/manual");
        assert_eq!(run(&mut Command::new(&program)), "child: Ok(Ok(7))\n");
        assert_eq!(run(Command::new(&program).arg("forgets")), "child: Err(NotHooked)\n");
    });
}

#[test]
fn a_library_that_a_program_loads_starts_nothing() {
    within(LIMIT, || {
        let text = run(Command::new(BUILT.join("debug/loader")).arg(BUILT.join("debug/libplugin.so")));
        assert_eq!(text, "plugin: 1\n");
    });
}

/// A variable that is left over from elsewhere makes no server of a program.
#[test]
fn a_stray_variable_is_not_followed() {
    within(LIMIT, || {
        let text = run(Command::new(BUILT.join("debug/program")).env("CROSSPROC_ROLE", "server"));
        assert!(text.starts_with("error: NotHooked\n"), "its standard input is no link, and it says so: {text}");
        let text = run(Command::new(BUILT.join("debug/program")).env("CROSSPROC_ROLE", "nonsense"));
        assert!(text.starts_with("error: NotHooked\n") || text.starts_with("result: Ok(1)\n"), "{text}");
    });
}

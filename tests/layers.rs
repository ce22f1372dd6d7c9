//! The house rules that a compiler does not know: who may import whom, and where the system's calls live.
//!
//! Arrows point down only: a module uses modules of lower layers and itself, never its siblings.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// Each top-level module of the crate, and its layer.
const LAYERS: [(&str, u32); 15] = [
    ("error", 0),
    ("marker", 1),
    ("sys", 1),
    ("sync", 2),
    ("segment", 3),
    ("entry", 4),
    ("ring", 4),
    ("objects", 5),
    ("messages", 5),
    ("queue", 6),
    ("pipe", 6),
    ("process", 6),
    ("wait", 7),
    ("pool", 8),
    ("testing", 9),
];

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// The files below `src`, with their top-level module and their code without comments.
fn files() -> Vec<(PathBuf, String, String)> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    sources(&src, &mut found);
    let of = |path: PathBuf| {
        let inside = path.strip_prefix(&src).unwrap();
        let module = inside.iter().next().unwrap().to_str().unwrap().trim_end_matches(".rs").to_owned();
        let text = std::fs::read_to_string(&path).unwrap();
        let code = text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n");
        (path, module, code)
    };
    found.into_iter().map(of).collect()
}

/// What the root re-exports, and from which module: `crate::SegmentError` is `error`'s.
fn exports() -> HashMap<String, String> {
    let root = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/lib.rs")).unwrap();
    let mut exports = HashMap::new();
    for statement in root.split(';').filter_map(|part| part.split_once("pub use ").map(|(_, rest)| rest)) {
        let Some((module, names)) = statement.split_once("::") else { continue };
        let names = if names == "*" { definitions(module) } else { names.trim_matches(['{', '}']).to_owned() };
        for name in names.split(',') {
            exports.insert(name.trim().to_owned(), module.trim().to_owned());
        }
    }
    exports
}

/// What a module defines for everybody, with commas between.
fn definitions(module: &str) -> String {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = vec![src.join(format!("{module}.rs"))];
    if !files[0].exists() {
        files.clear();
        sources(&src.join(module), &mut files);
    }
    let text: String = files.iter().map(|file| std::fs::read_to_string(file).unwrap()).collect();
    let name = |line: &str| {
        let rest = ["pub enum ", "pub struct ", "pub type "].iter().find_map(|kind| line.trim().strip_prefix(kind))?;
        rest.split(|c: char| !c.is_alphanumeric()).next().map(str::to_owned)
    };
    text.lines().filter_map(name).collect::<Vec<_>>().join(",")
}

/// The first names behind `crate::` in some code, those of a group `crate::{a::b, c}` too.
fn imports(code: &str) -> Vec<String> {
    let first = |path: &str| path.trim().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    let mut names = Vec::new();
    for rest in code.split("crate::").skip(1) {
        match rest.strip_prefix('{') {
            None => names.push(first(rest)),
            Some(group) => {
                let mut depth = 0;
                let is_comma = |c: char| {
                    depth += i32::from(c == '{') - i32::from(c == '}');
                    c == ',' && depth == 0
                };
                let end = group.find("};").unwrap_or(group.len());
                names.extend(group[..end].split(is_comma).map(first));
            }
        }
    }
    names.retain(|name| !name.is_empty());
    names
}

#[test]
fn arrows_point_down() {
    let layers: HashMap<_, _> = LAYERS.into_iter().collect();
    let exports = exports();
    let mut wrong = Vec::new();
    let mut seen = 0;
    for (path, module, code) in files().into_iter().filter(|(_, module, _)| module != "lib" && module != "compile_fail")
    {
        let layer = *layers.get(module.as_str()).unwrap_or_else(|| panic!("{module} has no layer: add it here"));
        for name in imports(&code) {
            let target = if layers.contains_key(name.as_str()) { &name } else { exports.get(&name).unwrap_or(&name) };
            let Some(below) = layers.get(target.as_str()) else { continue };
            seen += 1;
            if *target != module && *below >= layer {
                wrong.push(format!("{}: {module} uses {target}", path.display()));
            }
        }
    }
    assert!(seen > 50, "the test finds the imports: {seen}");
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn the_system_is_behind_one_wall() {
    for (path, module, code) in files().into_iter().filter(|(_, module, _)| module != "sys") {
        for call in ["libc::", "unsafe extern", "extern \"C\"", "target_os"] {
            assert!(!code.contains(call), "{} ({module}) has `{call}`", path.display());
        }
    }
}

#[test]
fn the_test_sees_what_it_looks_for() {
    assert_eq!(
        imports("use crate::sys::{a, b};\nuse crate::{Error, ring::X};\ncrate::queue::f()"),
        ["sys", "Error", "ring", "queue"]
    );
    assert_eq!(exports().get("Value").map(String::as_str), Some("objects"));
    assert!(files().len() > 20);
}

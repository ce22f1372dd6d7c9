//! The rules of the house that a compiler does not know.

use crate::source::House;
use proc_macro2::{TokenStream, TokenTree};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;

/// Each room, and its floor. A file uses files of its own room and of lower floors, never of its neighbours'.
const FLOORS: [(&str, u32); 14] = [
    ("error", 0),
    ("marker", 1),
    ("sys", 1),
    ("sync", 2),
    ("segment", 3),
    ("entry", 4),
    ("ring", 4),
    ("messages", 5),
    ("objects", 5),
    ("pipe", 6),
    ("process", 6),
    ("queue", 6),
    ("wait", 7),
    ("pool", 8),
];

/// Files that use each other because one has a type and the other its companion: what the type hands out, which leads
/// back to it. At most four.
const PAIRS: [[&str; 2]; 0] = [];

/// Files of 500 lines or more, each with the reason.
const LONG_FILES: [(&str, &str); 0] = [];
const LONG: usize = 500;

/// Types whose name stands in more than one room, because std does the same.
const COMMON_NAMES: [&str; 3] = ["Iter", "Entry", "State"];

fn root(file: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap()
}

#[test]
fn arrows_between_rooms_point_down() {
    let house = House::read();
    let floors: HashMap<_, _> = FLOORS.into_iter().collect();
    let is_inside = |room: &str| !["lib", "compile_fail", "testing"].contains(&room);
    let mut seen = 0;
    let mut wrong = BTreeSet::new();
    for (file, targets) in house.files.iter().zip(house.arrows()).filter(|(file, _)| is_inside(file.room())) {
        let floor = *floors.get(file.room()).unwrap_or_else(|| panic!("{} has no floor: add it here", file.room()));
        for target in targets {
            let target = &house.files[target];
            seen += 1;
            if target.room() != file.room() && floors.get(target.room()).is_none_or(|below| *below >= floor) {
                wrong.insert(format!("{} uses {}", file.name, target.name));
            }
        }
    }
    assert!(seen > 400, "the test finds the uses: {seen}");
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn files_form_no_circles() {
    let house = House::read();
    let circles = house.circles();
    let mut pairs: Vec<Vec<String>> = PAIRS.iter().map(|pair| pair.map(str::to_owned).to_vec()).collect();
    pairs.sort();
    let largest = house.files.iter().max_by_key(|file| file.text.lines().count()).unwrap();
    println!(
        "{} files, {} circles ({} pairs named)",
        house.files.len(),
        circles.len() - pairs.len().min(circles.len()),
        pairs.len()
    );
    println!("largest file: {}, {} lines", largest.name, largest.text.lines().count());
    for (room, lines) in house.rooms() {
        println!("{room:>10} {lines:6} lines of code");
    }
    assert!(pairs.len() <= 4);
    assert_eq!(circles, pairs);
}

#[test]
fn the_system_is_behind_one_wall() {
    for file in House::read().files.iter().filter(|file| file.room() != "sys") {
        let code: Vec<&str> = file.text.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
        for call in ["libc::", "unsafe extern", "extern \"C\"", "target_os"] {
            assert!(!code.iter().any(|line| line.contains(call)), "{} has `{call}`", file.name);
        }
    }
}

#[test]
fn files_are_short() {
    let house = House::read();
    let long = house.files.iter().filter(|file| file.text.lines().count() >= LONG).map(|file| file.name.as_str());
    assert_eq!(long.collect::<Vec<_>>(), LONG_FILES.map(|(name, _)| name));
    assert!(LONG_FILES.iter().all(|(_, reason)| reason.len() > 20));
}

/// Statics and fields that hold a function: the only way in which a lower room can reach a higher one.
#[test]
fn calls_that_go_up_are_named_in_the_architecture() {
    let page = root("ARCHITECTURE.md");
    let (_, section) =
        page.split_once("## Calls that go up").expect("ARCHITECTURE.md has a section `## Calls that go up`");
    let section = section.split("\n## ").next().unwrap();
    let mut unnamed = BTreeSet::new();
    let mut seen = 0;
    for file in House::read().files.iter().filter(|file| ["sys", "sync", "segment", "ring"].contains(&file.room())) {
        let mut names = Vec::new();
        stored_functions(file.text.parse().unwrap(), &mut names);
        for name in names {
            seen += 1;
            if !section.contains(&format!("`{name}`")) {
                unnamed.insert(format!("{}: {name}", file.name));
            }
        }
    }
    assert!(seen > 0, "the test finds some");
    assert!(unnamed.is_empty(), "{unnamed:#?}");
}

/// Names of statics and struct fields whose type has an `fn(..)` in it.
fn stored_functions(tokens: TokenStream, names: &mut Vec<String>) {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    let word = |at: usize| tokens.get(at).map(ToString::to_string).unwrap_or_default();
    for at in 0..tokens.len() {
        match &tokens[at] {
            // Not the lifetime.
            TokenTree::Ident(kind) if kind == "static" && (at == 0 || word(at - 1) != "'") => {
                let end =
                    (at..tokens.len()).find(|end| [";", "="].contains(&word(*end).as_str())).unwrap_or(tokens.len());
                if (at..end).any(|i| word(i) == "fn") {
                    names.push(word(at + 1));
                }
            }
            TokenTree::Ident(kind) if kind == "struct" => {
                let body =
                    tokens[at..].iter().take_while(|token| token.to_string() != ";").find_map(|token| match token {
                        TokenTree::Group(group) if group.delimiter() == proc_macro2::Delimiter::Brace => {
                            Some(group.stream())
                        }
                        _ => None,
                    });
                fields_with_functions(body.unwrap_or_default(), names);
            }
            TokenTree::Group(group) => stored_functions(group.stream(), names),
            _ => {}
        }
    }
}

fn fields_with_functions(body: TokenStream, names: &mut Vec<String>) {
    let tokens: Vec<String> = body.into_iter().map(|token| token.to_string()).collect();
    let mut field = String::new();
    let mut depth = 0;
    for (at, token) in tokens.iter().enumerate() {
        match token.as_str() {
            "<" => depth += 1,
            ">" if tokens.get(at.wrapping_sub(1)).is_none_or(|before| before != "-") => depth -= 1,
            ":" if depth == 0 && tokens.get(at + 1).is_none_or(|next| next != ":") => field = tokens[at - 1].clone(),
            // A marker holds no function.
            "fn" if !field.is_empty() && at.checked_sub(2).is_none_or(|before| tokens[before] != "PhantomData") => {
                names.push(field.clone());
            }
            _ => {}
        }
    }
}

/// The label at the beginning of a text, such as `ring-I1`, and what follows it.
fn label(text: &str) -> Option<(&str, &str)> {
    let (name, rest) = text.split_once('-')?;
    let length = rest.chars().take_while(char::is_ascii_alphanumeric).count();
    let (number, rest) = rest.split_at(length);
    let is_name = !name.is_empty() && name.chars().all(|c| c.is_ascii_lowercase() || c == '_');
    let digits = number.strip_prefix(|c: char| c.is_ascii_uppercase())?;
    let is_number = !digits.is_empty() && digits.len() <= 2 && digits.chars().all(|c| c.is_ascii_digit());
    (is_name && is_number).then(|| (&text[..name.len() + 1 + length], rest))
}

fn comment(line: &str) -> Option<&str> {
    line.find("//").map(|at| &line[at..])
}

#[test]
fn the_label_of_each_invariant_is_defined_once_and_each_citation_has_one() {
    let house = House::read();
    let mut defined: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut cited: BTreeMap<String, String> = BTreeMap::new();
    let mut bare = Vec::new();
    for file in &house.files {
        for (number, line) in file.text.lines().enumerate() {
            let Some(text) = comment(line) else { continue };
            let place = format!("{}:{}", file.name, number + 1);
            if let Some((label, rest)) =
                text.strip_prefix("//! * ").and_then(label).filter(|(_, rest)| rest.starts_with(':'))
            {
                defined.entry(label.to_owned()).or_default().push(place.clone());
                let _ = rest;
            }
            let words = text.split(|c: char| !(c.is_alphanumeric() || c == '_' || c == '-'));
            for word in words {
                match label(word) {
                    Some((label, "")) => drop(cited.insert(label.to_owned(), place.clone())),
                    _ if is_bare(word) => bare.push(format!("{place}: {word}")),
                    _ => {}
                }
            }
        }
    }
    println!("{} labels of invariants", defined.len());
    let twice: Vec<_> = defined.iter().filter(|(_, places)| places.len() > 1).collect();
    let unknown: Vec<_> = cited.iter().filter(|(label, _)| !defined.contains_key(*label)).collect();
    assert!(defined.len() > 50, "the test finds the labels");
    assert!(twice.is_empty(), "{twice:#?}");
    assert!(unknown.is_empty(), "{unknown:#?}");
    assert!(bare.is_empty(), "labels without their room: {bare:#?}");
}

/// A label that does not say whose it is: `I3`.
fn is_bare(word: &str) -> bool {
    let mut chars = word.chars();
    chars.next().is_some_and(|c| c.is_ascii_uppercase())
        && matches!(chars.as_str().len(), 1 | 2)
        && chars.all(|c| c.is_ascii_digit())
}

#[test]
fn no_type_has_the_name_of_another() {
    let house = House::read();
    let mut types: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
    // Linux and the stub are two forms of one thing.
    for file in house.files.iter().filter(|file| !file.name.starts_with("sys/stub")) {
        for line in file.text.lines().map(str::trim_start) {
            let line =
                line.strip_prefix("pub").map_or(line, |rest| rest.split_once(' ').map_or(line, |(_, rest)| rest));
            let line = line.strip_prefix("unsafe ").unwrap_or(line);
            let Some(rest) = ["struct ", "enum ", "trait ", "union "].iter().find_map(|kind| line.strip_prefix(kind))
            else {
                continue;
            };
            let name: String = rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            // A macro's `$name` is none.
            if !name.is_empty() {
                types.entry(name).or_default().insert(&file.name);
            }
        }
    }
    assert!(types.len() > 150, "the test finds the types: {}", types.len());
    types.retain(|name, files| files.len() > 1 && !COMMON_NAMES.contains(&name.as_str()));
    assert!(types.is_empty(), "{types:#?}");
}

#[test]
fn behind_is_a_place_and_not_a_time() {
    let count = |file: &crate::source::File| {
        let words = file.text.split(|c: char| !c.is_alphanumeric());
        words.filter(|word| word.eq_ignore_ascii_case("behind")).count()
    };
    assert!(House::read().files.iter().map(count).sum::<usize>() < 15);
}

#[test]
fn the_test_sees_what_it_looks_for() {
    assert_eq!(label("ring-I1: a push"), Some(("ring-I1", ": a push")));
    assert_eq!(label("event_count-G12"), Some(("event_count-G12", "")));
    assert!(label("x86-64").is_none() && label("I1: a push").is_none() && label("ring-In").is_none());
    assert!(is_bare("I3") && is_bare("B12") && !is_bare("IO") && !is_bare("i3"));
    let mut names = Vec::new();
    stored_functions(
        "static HOOK: Once<fn(u32)> = Once::new(); struct A { a: u32, b: fn() -> bool, c: PhantomData<fn()> }"
            .parse()
            .unwrap(),
        &mut names,
    );
    assert_eq!(names, ["HOOK", "b"]);
}

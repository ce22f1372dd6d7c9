//! The crate's files as the tests of the house see them: tokens, modules, definitions, and which file uses which.

use proc_macro2::{Delimiter, TokenStream, TokenTree};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};

/// A module's path below the crate: `["ring", "push"]`.
pub type ModulePath = Vec<String>;

/// One file below `src`.
pub struct File {
    /// As a reader writes it: `ring/push.rs`.
    pub name: String,
    pub module: ModulePath,
    pub text: String,
    /// What follows a use of a name through the tokens of this file, without `#[cfg(test)]` modules.
    uses: Vec<Use>,
    /// Names that this file defines.
    definitions: BTreeSet<String>,
    /// Names that this file re-exports, with the path that it names for each.
    exports: HashMap<String, ModulePath>,
    /// Modules of which everything is re-exported.
    globs: Vec<ModulePath>,
}

/// An absolute path that a file names.
struct Use {
    path: ModulePath,
    is_export: bool,
}

impl File {
    /// The top-level folder, or the file itself for one at the top.
    pub fn room(&self) -> &str {
        self.module.first().map_or("lib", String::as_str)
    }

    /// Lines of code: what is neither blank nor a comment.
    pub fn lines_of_code(&self) -> usize {
        self.text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with("//")).count()
    }

    fn parse(root: &Path, path: &Path) -> Self {
        let inside = path.strip_prefix(root).unwrap();
        let name = inside.to_str().unwrap().to_owned();
        let mut module: ModulePath = name.trim_end_matches(".rs").split('/').map(str::to_owned).collect();
        if module.last().is_some_and(|last| last == "mod" || last == "lib") {
            module.pop();
        }
        let text = std::fs::read_to_string(path).unwrap();
        let tokens: TokenStream = text.parse().unwrap_or_else(|error| panic!("{name}: {error}"));
        let mut file = Self {
            name,
            module,
            text,
            uses: vec![],
            definitions: BTreeSet::new(),
            exports: HashMap::new(),
            globs: vec![],
        };
        let module = file.module.clone();
        file.read(tokens, &module);
        file
    }

    fn read(&mut self, tokens: TokenStream, module: &[String]) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        let mut at = 0;
        let mut is_public = false;
        while at < tokens.len() {
            match &tokens[at] {
                TokenTree::Ident(word) => {
                    let word = word.to_string();
                    let next = tokens.get(at + 1);
                    match (word.as_str(), next) {
                        ("pub", _) => {
                            is_public = true;
                            at += 1 + usize::from(is_group(next, Delimiter::Parenthesis));
                            continue;
                        }
                        ("use", _) => {
                            at += 1;
                            let mut found = Vec::new();
                            at = use_tree(&tokens, at, &[], &mut found);
                            for (path, name) in found {
                                self.add_use(path, name, module, is_public);
                            }
                        }
                        ("mod", Some(TokenTree::Ident(name))) => {
                            if let Some(TokenTree::Group(body)) = tokens.get(at + 2) {
                                if name != "tests" {
                                    let inner: Vec<_> = module.iter().cloned().chain([name.to_string()]).collect();
                                    self.read(body.stream(), &inner);
                                }
                                at += 3;
                            } else {
                                self.definitions.insert(name.to_string());
                                at += 2;
                            }
                        }
                        (
                            "struct" | "enum" | "trait" | "union" | "type" | "fn" | "static",
                            Some(TokenTree::Ident(name)),
                        ) => {
                            self.definitions.insert(name.to_string());
                            at += 2;
                        }
                        ("const", Some(TokenTree::Ident(name))) if name != "fn" => {
                            self.definitions.insert(name.to_string());
                            at += 2;
                        }
                        ("macro_rules", _) => {
                            if let Some(TokenTree::Ident(name)) = tokens.get(at + 2) {
                                self.definitions.insert(name.to_string());
                            }
                            at += 3;
                        }
                        ("crate" | "super" | "self", _) => {
                            let (path, end) = path_at(&tokens, at);
                            if path.len() > 1 {
                                self.add_use(path, None, module, false);
                            }
                            at = end;
                        }
                        // The rest of a path that begins elsewhere is not a path of its own.
                        _ => at = path_at(&tokens, at).1,
                    }
                    is_public = false;
                }
                TokenTree::Group(group) => {
                    self.read(group.stream(), module);
                    at += 1;
                }
                _ => at += 1,
            }
        }
    }

    fn add_use(&mut self, path: ModulePath, name: Option<String>, module: &[String], is_export: bool) {
        let mut path = path.as_slice();
        let mut from: ModulePath = match path[0].as_str() {
            "crate" => vec![],
            "self" | "super" => module.to_vec(),
            // A child of this module, or another crate: the reader of the whole knows.
            _ => module.to_vec(),
        };
        while let Some(first) = path.first() {
            match first.as_str() {
                "crate" | "self" => {}
                "super" => drop(from.pop()),
                _ => break,
            }
            path = &path[1..];
        }
        from.extend(path.iter().cloned());
        if is_export {
            match name.as_deref() {
                Some("*") => self.globs.push(from.clone()),
                Some(name) => drop(self.exports.insert(name.to_owned(), from.clone())),
                None => {}
            }
        }
        self.uses.push(Use { path: from, is_export });
    }
}

fn is_group(token: Option<&TokenTree>, delimiter: Delimiter) -> bool {
    matches!(token, Some(TokenTree::Group(group)) if group.delimiter() == delimiter)
}

fn is_colons(tokens: &[TokenTree], at: usize) -> bool {
    let colon = |token: Option<&TokenTree>| matches!(token, Some(TokenTree::Punct(punct)) if punct.as_char() == ':');
    colon(tokens.get(at)) && colon(tokens.get(at + 1))
}

/// The path that begins at a word, and where it ends.
fn path_at(tokens: &[TokenTree], mut at: usize) -> (ModulePath, usize) {
    let mut path = Vec::new();
    while let Some(TokenTree::Ident(word)) = tokens.get(at) {
        path.push(word.to_string());
        at += 1;
        if !is_colons(tokens, at) || !matches!(tokens.get(at + 2), Some(TokenTree::Ident(_))) {
            break;
        }
        at += 2;
    }
    (path, at)
}

/// All paths of a `use`, each with the name that it brings in, and where it ends.
fn use_tree(
    tokens: &[TokenTree],
    mut at: usize,
    prefix: &[String],
    found: &mut Vec<(ModulePath, Option<String>)>,
) -> usize {
    let mut path = prefix.to_vec();
    let mut name = None;
    while let Some(token) = tokens.get(at) {
        match token {
            TokenTree::Ident(word) if word == "as" => {
                name = tokens.get(at + 1).map(ToString::to_string);
                at += 2;
            }
            TokenTree::Ident(word) => {
                let word = word.to_string();
                if word != "self" || path.is_empty() {
                    path.push(word);
                }
                at += 1;
            }
            TokenTree::Punct(punct) if punct.as_char() == ':' => at += 1,
            TokenTree::Punct(punct) if punct.as_char() == '*' => {
                name = Some("*".into());
                at += 1;
            }
            TokenTree::Group(group) if group.delimiter() == Delimiter::Brace => {
                let inner: Vec<TokenTree> = group.stream().into_iter().collect();
                let mut inside = 0;
                while inside < inner.len() {
                    inside = use_tree(&inner, inside, &path, found) + 1;
                }
                return at + 1;
            }
            _ => break, // a comma or a semicolon
        }
    }
    if path.len() > prefix.len() || name.is_some() || !prefix.is_empty() {
        let name = name.or_else(|| path.last().cloned());
        found.push((path, name));
    }
    at
}

/// All files of the crate.
pub struct House {
    pub files: Vec<File>,
    by_module: HashMap<ModulePath, usize>,
}

impl House {
    pub fn read() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let mut paths = Vec::new();
        sources(&root, &mut paths);
        paths.sort();
        let files: Vec<File> = paths.iter().map(|path| File::parse(&root, path)).collect();
        let by_module = files.iter().enumerate().map(|(i, file)| (file.module.clone(), i)).collect();
        Self { files, by_module }
    }

    /// The file in which the thing at an absolute path is defined, re-exports resolved; none for another crate's.
    fn definition(&self, path: &[String]) -> Option<usize> {
        self.resolve(path, 0)
    }

    fn resolve(&self, path: &[String], depth: u32) -> Option<usize> {
        if depth > 8 {
            return None;
        }
        let known = (0..=path.len()).rev().find(|length| self.by_module.contains_key(&path[..*length]))?;
        let file = self.by_module[&path[..known]];
        let Some(name) = path.get(known) else { return Some(file) };
        if self.files[file].definitions.contains(name) {
            return Some(file);
        }
        let rest = &path[known + 1..];
        if let Some(target) = self.files[file].exports.get(name) {
            return self.resolve(&[target.as_slice(), rest].concat(), depth + 1);
        }
        self.files[file]
            .globs
            .iter()
            .find_map(|glob| self.resolve(&[glob.as_slice(), &path[known..]].concat(), depth + 1))
    }

    /// Which files each file uses. A re-export by itself is no use, and no file uses the crate's root.
    pub fn arrows(&self) -> Vec<BTreeSet<usize>> {
        let of = |(i, file): (usize, &File)| {
            let uses = file.uses.iter().filter(|used| !used.is_export);
            let targets = uses.filter_map(|used| self.definition(&used.path));
            targets.filter(|target| *target != i && !self.files[*target].module.is_empty()).collect()
        };
        self.files.iter().enumerate().map(of).collect()
    }

    /// The groups of files that use each other, around any number of corners; each sorted by name.
    pub fn circles(&self) -> Vec<Vec<String>> {
        let arrows = self.arrows();
        let reach: Vec<BTreeSet<usize>> = (0..arrows.len()).map(|from| reachable(&arrows, from)).collect();
        let mut circles = BTreeSet::new();
        for (from, targets) in reach.iter().enumerate() {
            if targets.contains(&from) {
                let circle: BTreeSet<usize> = targets.iter().copied().filter(|to| reach[*to].contains(&from)).collect();
                circles.insert(circle);
            }
        }
        let name = |circle: BTreeSet<usize>| circle.into_iter().map(|i| self.files[i].name.clone()).collect();
        circles.into_iter().map(name).collect()
    }

    /// Lines of code by room.
    pub fn rooms(&self) -> BTreeMap<&str, usize> {
        let mut rooms = BTreeMap::new();
        self.files.iter().for_each(|file| *rooms.entry(file.room()).or_default() += file.lines_of_code());
        rooms
    }
}

fn reachable(arrows: &[BTreeSet<usize>], from: usize) -> BTreeSet<usize> {
    let mut seen = BTreeSet::new();
    let mut left: Vec<usize> = arrows[from].iter().copied().collect();
    while let Some(next) = left.pop() {
        if seen.insert(next) {
            left.extend(&arrows[next]);
        }
    }
    seen
}

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

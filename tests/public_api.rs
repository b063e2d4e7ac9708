//! The public interface of both crates, as it stands in `docs/public-api.txt`: what a change of it
//! breaks, or adds, is seen in review.
//!
//! Why not `cargo public-api`, the usual tool: it reads rustdoc's JSON, whose format is of one
//! compiler version and which stable compilers refuse to write; whoever has another than ours could
//! not run this test. So the sources are parsed by `syn`, and what is reachable from the roots is
//! printed by `prettyplease`: definitions with their public fields, methods without their bodies,
//! and the traits implemented. What the macros in [`DEFINING`] define is listed as they are called.
//!
//! After a change on purpose: `LITTORAL_RENEW=1 cargo test --test public_api`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::slice::from_ref;

use proc_macro2::{Delimiter, Group, TokenStream, TokenTree};
use syn::{Attribute, Fields, ImplItem, Item, ItemImpl, Type, UseTree, Visibility};

const LIST: &str = "docs/public-api.txt";

/// Macros whose calls define public items.
const DEFINING: &[&str] = &["errnos", "bitflags"];

/// Attributes that callers depend on.
const TELLING: &[&str] = &["derive", "non_exhaustive", "must_use", "cfg"];

/// The modules of one crate, by their paths below its root.
struct Crate {
    modules: BTreeMap<Vec<String>, Vec<Item>>,
}

/// An exported definition.
struct Export {
    /// As callers write it.
    name: String,
    /// Where it is defined.
    module: Vec<String>,
    item: Item,
}

fn is_only_for_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        let text = match &attribute.meta {
            syn::Meta::List(list) if list.path.is_ident("cfg") => list.tokens.to_string(),
            _ => return false,
        };
        text == "test" || text == "doctest"
    })
}

fn attributes(item: &mut Item) -> Option<&mut Vec<Attribute>> {
    Some(match item {
        Item::Const(item) => &mut item.attrs,
        Item::Enum(item) => &mut item.attrs,
        Item::Fn(item) => &mut item.attrs,
        Item::Impl(item) => &mut item.attrs,
        Item::Macro(item) => &mut item.attrs,
        Item::Mod(item) => &mut item.attrs,
        Item::Static(item) => &mut item.attrs,
        Item::Struct(item) => &mut item.attrs,
        Item::Trait(item) => &mut item.attrs,
        Item::Type(item) => &mut item.attrs,
        Item::Use(item) => &mut item.attrs,
        _ => return None,
    })
}

fn name_and_visibility(item: &Item) -> Option<(String, &Visibility)> {
    let (name, visibility) = match item {
        Item::Const(item) => (&item.ident, &item.vis),
        Item::Enum(item) => (&item.ident, &item.vis),
        Item::Fn(item) => (&item.sig.ident, &item.vis),
        Item::Mod(item) => (&item.ident, &item.vis),
        Item::Static(item) => (&item.ident, &item.vis),
        Item::Struct(item) => (&item.ident, &item.vis),
        Item::Trait(item) => (&item.ident, &item.vis),
        Item::Type(item) => (&item.ident, &item.vis),
        _ => return None,
    };
    Some((name.to_string(), visibility))
}

fn is_public(visibility: &Visibility) -> bool {
    matches!(visibility, Visibility::Public(_))
}

impl Crate {
    fn read(root: &Path) -> Crate {
        let mut found = Crate { modules: BTreeMap::new() };
        found.read_file(root, root.parent().expect("it is in a folder"), Vec::new());
        found
    }

    /// Reads a file; the files of its modules are in `folder`.
    fn read_file(&mut self, file: &Path, folder: &Path, module: Vec<String>) {
        let text = fs::read_to_string(file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
        let parsed = syn::parse_file(&text).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
        self.add(parsed.items, folder, module);
    }

    fn add(&mut self, items: Vec<Item>, folder: &Path, module: Vec<String>) {
        let mut kept = Vec::new();
        for mut item in items {
            if attributes(&mut item).is_some_and(|attributes| is_only_for_tests(attributes)) {
                continue;
            }
            match item {
                Item::Mod(inner) => {
                    let name = inner.ident.to_string();
                    let path = [module.as_slice(), from_ref(&name)].concat();
                    let below = folder.join(&name);
                    if let Some((_, items)) = &inner.content {
                        self.add(items.clone(), &below, path);
                    } else {
                        let files = [folder.join(format!("{name}.rs")), below.join("mod.rs")];
                        let file = files.iter().find(|file| file.exists());
                        self.read_file(file.expect("a module's file"), &below, path);
                    }
                    kept.push(Item::Mod(syn::ItemMod { content: None, ..inner }));
                }
                // The branches of a choice: all of them are listed.
                Item::Macro(choice)
                    if choice.mac.path.segments.last().unwrap().ident == "cfg_if" =>
                {
                    let mut items = Vec::new();
                    branches(choice.mac.tokens, &mut items);
                    self.add_more(items, folder, &module, &mut kept);
                }
                other => kept.push(other),
            }
        }
        self.modules.entry(module).or_default().extend(kept);
    }

    /// What stands in the branches belongs to the module around them.
    fn add_more(
        &mut self,
        items: Vec<Item>,
        folder: &Path,
        module: &[String],
        kept: &mut Vec<Item>,
    ) {
        self.add(items, folder, module.to_vec());
        kept.append(self.modules.entry(module.to_vec()).or_default());
    }

    /// The definitions behind a path, wherever they were moved from.
    fn resolve(&self, from: &[String], path: &[String]) -> Vec<(Vec<String>, Item)> {
        let (name, way) = path.split_last().expect("a path has a last part");
        let mut module = from.to_vec();
        for (place, part) in way.iter().enumerate() {
            match part.as_str() {
                "crate" if place == 0 => module.clear(),
                "self" if place == 0 => {}
                "super" => drop(module.pop()),
                _ => module.push(part.clone()),
            }
        }
        let Some(items) = self.modules.get(&module) else { return Vec::new() };
        let mut found = Vec::new();
        for item in items {
            if let Item::Use(other) = item {
                for (path, alias) in flat(&other.tree) {
                    if alias == *name {
                        found.extend(self.resolve(&module, &path));
                    }
                }
            } else if !matches!(item, Item::Mod(_))
                && name_and_visibility(item).is_some_and(|(other, _)| other == *name)
            {
                found.push((module.clone(), item.clone()));
            }
        }
        found
    }

    /// Everything that is public below this module.
    fn exports(&self, module: &[String], prefix: &str, into: &mut Vec<Export>) -> Vec<String> {
        let mut foreign = Vec::new();
        for item in &self.modules[module] {
            match item {
                Item::Use(import) if is_public(&import.vis) => {
                    for (path, alias) in flat(&import.tree) {
                        let found = self.resolve(module, &path);
                        if found.is_empty() {
                            foreign.push(format!("{prefix}::{alias} = {}", path.join("::")));
                        }
                        into.extend(found.into_iter().map(|(module, item)| Export {
                            name: format!("{prefix}::{alias}"),
                            module,
                            item,
                        }));
                    }
                }
                _ => {
                    let Some((name, visibility)) = name_and_visibility(item) else { continue };
                    if !is_public(visibility) {
                        continue;
                    }
                    let full = format!("{prefix}::{name}");
                    if matches!(item, Item::Mod(_)) {
                        let inner = [module, &[name]].concat();
                        foreign.extend(self.exports(&inner, &full, into));
                    } else {
                        let (module, item) = (module.to_vec(), item.clone());
                        into.push(Export { name: full, module, item });
                    }
                }
            }
        }
        foreign
    }
}

/// The items in the braces of a `cfg_if!`.
fn branches(tokens: TokenStream, into: &mut Vec<Item>) {
    for token in tokens {
        if let TokenTree::Group(group) = token
            && group.delimiter() == Delimiter::Brace
        {
            let parsed = syn::parse2::<syn::File>(group.stream()).expect("a branch has items");
            into.extend(parsed.items);
        }
    }
}

/// Each path of a `use`, and the name that it has afterwards.
fn flat(tree: &UseTree) -> Vec<(Vec<String>, String)> {
    match tree {
        UseTree::Path(path) => {
            let first = path.ident.to_string();
            let rest = flat(&path.tree).into_iter();
            rest.map(|(rest, alias)| ([vec![first.clone()], rest].concat(), alias)).collect()
        }
        UseTree::Name(name) => vec![(vec![name.ident.to_string()], name.ident.to_string())],
        UseTree::Rename(name) => vec![(vec![name.ident.to_string()], name.rename.to_string())],
        UseTree::Group(group) => group.items.iter().flat_map(flat).collect(),
        UseTree::Glob(_) => Vec::new(),
    }
}

fn keep_telling(attributes: &mut Vec<Attribute>) {
    attributes.retain(|attribute| {
        let last = attribute.path().segments.last();
        last.is_some_and(|last| TELLING.iter().any(|kept| last.ident == kept))
    });
}

/// Without private fields, of which only that there are some is told.
fn public_fields(fields: &mut Fields) {
    let hidden: Type = syn::parse_quote!(_);
    match fields {
        Fields::Named(named) => {
            let all = named.named.len();
            named.named = std::mem::take(&mut named.named)
                .into_iter()
                .filter(|field| is_public(&field.vis))
                .collect();
            named.named.iter_mut().for_each(|field| field.attrs.clear());
            if named.named.len() < all {
                named.named.push(syn::parse_quote!(private: _));
            }
        }
        Fields::Unnamed(unnamed) => {
            for field in &mut unnamed.unnamed {
                field.attrs.clear();
                if !is_public(&field.vis) {
                    field.ty = hidden.clone();
                }
            }
        }
        Fields::Unit => {}
    }
}

fn empty() -> syn::Block {
    syn::parse_quote!({})
}

/// A definition as callers see it.
fn stripped(mut item: Item) -> Item {
    if let Some(attributes) = attributes(&mut item) {
        keep_telling(attributes);
    }
    match &mut item {
        Item::Struct(item) => public_fields(&mut item.fields),
        Item::Enum(item) => {
            for variant in &mut item.variants {
                keep_telling(&mut variant.attrs);
                for field in &mut variant.fields {
                    field.attrs.clear();
                }
            }
        }
        Item::Fn(item) => *item.block = empty(),
        Item::Trait(item) => {
            for each in &mut item.items {
                if let syn::TraitItem::Fn(method) = each {
                    keep_telling(&mut method.attrs);
                    if method.default.is_some() {
                        method.default = Some(empty());
                    }
                }
            }
        }
        _ => {}
    }
    item
}

/// The public part of an implementation; `None` if there is none.
fn stripped_impl(mut block: ItemImpl) -> Option<ItemImpl> {
    keep_telling(&mut block.attrs);
    if block.trait_.is_some() {
        // That it is implemented says all, but for the types that it chooses.
        block.items.retain(|item| matches!(item, ImplItem::Type(_)));
        return Some(block);
    }
    block.items.retain(|item| match item {
        ImplItem::Fn(item) => is_public(&item.vis),
        ImplItem::Const(item) => is_public(&item.vis),
        _ => false,
    });
    for item in &mut block.items {
        match item {
            ImplItem::Fn(item) => {
                keep_telling(&mut item.attrs);
                item.block = empty();
            }
            ImplItem::Const(item) => keep_telling(&mut item.attrs),
            _ => {}
        }
    }
    (!block.items.is_empty()).then_some(block)
}

/// The last name of a type's path.
fn last_name(of: &Type) -> Option<String> {
    match of {
        Type::Path(path) => Some(path.path.segments.last()?.ident.to_string()),
        Type::Reference(reference) => last_name(&reference.elem),
        _ => None,
    }
}

/// The types that an implementation is about: its own, and its trait's parameters.
fn subjects(block: &ItemImpl) -> Vec<String> {
    let mut names: Vec<String> = last_name(&block.self_ty).into_iter().collect();
    if let Some((_, path, _)) = &block.trait_
        && let Some(last) = path.segments.last()
        && let syn::PathArguments::AngleBracketed(arguments) = &last.arguments
    {
        names.extend(arguments.args.iter().filter_map(|argument| match argument {
            syn::GenericArgument::Type(of) => last_name(of),
            _ => None,
        }));
    }
    names
}

/// The tokens of a macro's call without the documentation in them.
fn without_docs(tokens: TokenStream) -> TokenStream {
    let mut kept: Vec<TokenTree> = Vec::new();
    for token in tokens {
        let token = match token {
            TokenTree::Group(group) => {
                let text = group.stream().to_string();
                if group.delimiter() == Delimiter::Bracket && text.starts_with("doc =") {
                    // With the `#` before it.
                    kept.pop();
                    continue;
                }
                Group::new(group.delimiter(), without_docs(group.stream())).into()
            }
            other => other,
        };
        kept.push(token);
    }
    kept.into_iter().collect()
}

fn print(items: Vec<Item>) -> String {
    prettyplease::unparse(&syn::File { shebang: None, attrs: Vec::new(), items })
}

/// How much of two modules' paths is common.
fn nearness(one: &[String], other: &[String]) -> usize {
    one.iter().zip(other).take_while(|(one, other)| one == other).count()
}

/// The list of one crate.
fn listed(name: &str, root: &Path) -> String {
    let source = Crate::read(root);
    let mut exports = Vec::new();
    let mut foreign = source.exports(&[], name, &mut exports);
    foreign.sort();
    exports.sort_by(|one, other| (&one.name, &one.module).cmp(&(&other.name, &other.module)));
    let defined: BTreeSet<String> = exports
        .iter()
        .filter_map(|export| name_and_visibility(&export.item).map(|(name, _)| name))
        .collect();
    let mut private_traits = BTreeSet::new();
    for item in source.modules.values().flatten() {
        if let Item::Trait(item) = item
            && !defined.contains(&item.ident.to_string())
        {
            private_traits.insert(item.ident.to_string());
        }
    }

    // Each implementation goes to the nearest definition of its first subject that is exported.
    let mut implementations: BTreeMap<usize, Vec<String>> = BTreeMap::new();
    for (module, items) in &source.modules {
        for item in items {
            let Item::Impl(block) = item else { continue };
            let of_private = block.trait_.as_ref().is_some_and(|(_, path, _)| {
                let last = path.segments.last().expect("a path has a last part");
                private_traits.contains(&last.ident.to_string())
            });
            let subject = subjects(block).into_iter().find(|name| defined.contains(name));
            let (Some(subject), false) = (subject, of_private) else { continue };
            let candidates = exports.iter().enumerate().filter(|(_, export)| {
                name_and_visibility(&export.item).is_some_and(|(name, _)| name == subject)
            });
            let nearest = candidates.max_by_key(|(_, each)| nearness(&each.module, module));
            let (place, _) = nearest.expect("one is exported");
            if let Some(block) = stripped_impl(block.clone()) {
                let text = print(vec![Item::Impl(block)]);
                implementations.entry(place).or_default().push(text);
            }
        }
    }

    let mut text = format!("# {name}\n\n");
    for line in foreign {
        writeln!(text, "{line}").expect("a string takes all");
    }
    for (place, export) in exports.into_iter().enumerate() {
        write!(text, "\n// {}\n{}", export.name, print(vec![stripped(export.item)]))
            .expect("a string takes all");
        let mut blocks = implementations.remove(&place).unwrap_or_default();
        // Methods first, then what it can be used as.
        blocks.sort_by_key(|block| (block.contains(" for "), block.clone()));
        text.extend(blocks);
    }
    for (module, items) in &source.modules {
        for item in items {
            let Item::Macro(call) = item else { continue };
            let called = call.mac.path.segments.last().expect("a path has a last part");
            let private = call.mac.tokens.to_string().contains("pub (");
            if !private && DEFINING.iter().any(|defining| called.ident == defining) {
                let mut call = call.clone();
                call.attrs.clear();
                call.mac.tokens = without_docs(call.mac.tokens);
                let path = [name.to_owned(), module.join("::")].join("::");
                write!(text, "\n// called in {path}\n{}", print(vec![Item::Macro(call)]))
                    .expect("a string takes all");
            }
        }
    }
    text
}

#[test]
fn the_public_interface_is_the_listed_one() {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let found = [
        "What callers of each crate can reach. Written by tests/public_api.rs, which says how to \
         renew it.\n\n",
        &listed("littoral", &root.join("src/lib.rs")),
        "\n",
        &listed("littoral_platform", &root.join("platform/lib.rs")),
    ]
    .concat();
    for needed in ["pub fn start(config: Config)", "impl From<Vec<u8>> for Buffer", "fn pread("] {
        assert!(found.contains(needed), "the list lacks {needed}: it is of half a crate");
    }
    let list = root.join(LIST);
    if std::env::var_os("LITTORAL_RENEW").is_some() {
        fs::write(&list, &found).expect("the list can be written");
    }
    let listed = fs::read_to_string(&list).unwrap_or_default();
    let (was, is): (BTreeSet<_>, BTreeSet<_>) = (listed.lines().collect(), found.lines().collect());
    let mut differences = String::new();
    for line in was.difference(&is) {
        writeln!(differences, "- {line}").expect("a string takes all");
    }
    for line in is.difference(&was) {
        writeln!(differences, "+ {line}").expect("a string takes all");
    }
    assert!(
        listed == found,
        "the public interface is not the one of {LIST}:\n{differences}\
         if that is on purpose: LITTORAL_RENEW=1 cargo test --test public_api"
    );
}

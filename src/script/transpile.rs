//! TypeScript to JavaScript, one module at a time, without type information.

use std::fmt;

use swc_core::common::comments::SingleThreadedComments;
use swc_core::common::source_map::SourceMapGenConfig;
use swc_core::common::sync::Lrc;
use swc_core::common::{FileName, GLOBALS, Globals, Mark, SourceMap, Spanned};
use swc_core::ecma::ast::{EsVersion, Program};
use swc_core::ecma::codegen::text_writer::JsWriter;
use swc_core::ecma::codegen::{Config, Emitter};
use swc_core::ecma::parser::{Parser, StringInput, Syntax, TsSyntax, lexer::Lexer};
use swc_core::ecma::transforms::base::fixer::fixer;
use swc_core::ecma::transforms::base::helpers::{HELPERS, Helpers, inject_helpers};
use swc_core::ecma::transforms::base::hygiene::hygiene;
use swc_core::ecma::transforms::base::resolver;
use swc_core::ecma::transforms::proposal::decorator_2023_11::decorator_2023_11;
use swc_core::ecma::transforms::typescript::typescript;

/// A module that V8 can compile, and the way back from it to its source.
pub struct Script {
    pub code: String,
    /// A source map, version 3, as JSON.
    pub source_map: Vec<u8>,
}

/// A module that is not TypeScript.
#[derive(Debug)]
pub struct SyntaxError {
    pub message: String,
    /// Counted from 1.
    pub line: usize,
    /// In characters, counted from 1.
    pub column: usize,
}

/// Removes types and lowers enums, namespaces, parameter properties and decorators.
///
/// `specifier` becomes the source's name in the source map.
pub fn transpile(specifier: &str, source: String) -> Result<Script, SyntaxError> {
    let sources: Lrc<SourceMap> = Lrc::default();
    let file = sources.new_source_file(FileName::Custom(specifier.into()).into(), source);
    let comments = SingleThreadedComments::default();
    let at = |span: swc_core::common::Span, message: String| {
        let place = sources.lookup_char_pos(span.lo);
        SyntaxError { message, line: place.line, column: place.col.0 + 1 }
    };

    let mut parser = Parser::new_from(Lexer::new(
        Syntax::Typescript(TsSyntax { decorators: true, ..TsSyntax::default() }),
        EsVersion::EsNext,
        StringInput::from(&*file),
        Some(&comments),
    ));
    let parsed = parser.parse_module();
    // The parser goes on after an error that it can recover from; the first one is what helps.
    if let Some(error) = parser.take_errors().into_iter().next() {
        return Err(at(error.span(), error.kind().msg().into_owned()));
    }
    let module = parsed.map_err(|error| at(error.span(), error.kind().msg().into_owned()))?;

    GLOBALS.set(&Globals::new(), || {
        HELPERS.set(&Helpers::new(false), || {
            let unresolved = Mark::new();
            let top_level = Mark::new();
            let options = typescript::Config {
                native_class_properties: true,
                no_empty_export: true,
                import_export_assign_config: typescript::TsImportExportAssignConfig::EsNext,
                ..typescript::Config::default()
            };
            let program = Program::Module(module)
                .apply(resolver(unresolved, top_level, true))
                .apply(typescript::typescript(options, unresolved, top_level))
                .apply(decorator_2023_11())
                .apply(inject_helpers(unresolved))
                .apply(hygiene())
                .apply(fixer(Some(&comments)));
            Ok(emit(&sources, &program))
        })
    })
}

fn emit(sources: &Lrc<SourceMap>, program: &Program) -> Script {
    let mut code = Vec::new();
    let mut mappings = Vec::new();
    let mut emitter = Emitter {
        cfg: Config::default().with_target(EsVersion::EsNext),
        cm: sources.clone(),
        comments: None,
        wr: JsWriter::new(sources.clone(), "\n", &mut code, Some(&mut mappings)),
    };
    emitter.emit_program(program).expect("a vector takes all that is written to it");

    let mut source_map = Vec::new();
    sources
        .build_source_map(&mappings, None, Names)
        .to_writer(&mut source_map)
        .expect("a vector takes all that is written to it");
    Script { code: String::from_utf8(code).expect("the emitter writes whole strings"), source_map }
}

/// Source maps name their source by its specifier, and do not carry its text.
struct Names;

impl SourceMapGenConfig for Names {
    fn file_name_to_source(&self, file: &FileName) -> String {
        file.to_string()
    }

    fn inline_sources_content(&self, _: &FileName) -> bool {
        false
    }
}

impl fmt::Display for SyntaxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at line {}, column {}", self.message, self.line, self.column)
    }
}

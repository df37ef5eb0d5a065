/* The same key for the supervisor that builds and for who wants to know what has to be built. */
#include "common/spec/build.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/base/auto.h"

/* Changes when anything else does that an artefact depends on and that is not hashed. */
static const char key_format[] = "solo build 1";

/* ---- the source file's name ---- */

/* The name without what follows it: "gcc-12", "clang++-15", "x86_64-linux-gnu-gcc". */
static bool is_called(const char *compiler, const char *name)
{
    size_t size = strlen(name);
    for (const char *at = compiler; (at = strstr(at, name)) != NULL; at++) {
        bool begins = at == compiler || at[-1] == '-';
        const char *rest = at + size;
        if (begins && (*rest == '\0' || (*rest == '-' && rest[1] >= '0' && rest[1] <= '9')))
            return true;
    }
    return false;
}

static const char *name_for(const char *word)
{
    static const struct {
        const char *compiler, *name;
    } names[] = {
        { "cc", "code.c" },        { "gcc", "code.c" },   { "clang", "code.c" },
        { "tcc", "code.c" },       { "c89", "code.c" },   { "c99", "code.c" },
        { "c++", "code.cc" },      { "g++", "code.cc" },  { "clang++", "code.cc" },
        { "rustc", "code.rs" },    { "go", "code.go" },   { "gccgo", "code.go" },
        { "zig", "code.zig" },     { "ghc", "code.hs" },  { "gfortran", "code.f90" },
        { "ocamlopt", "code.ml" }, { "fpc", "code.pas" }, { "nim", "code.nim" },
        { "dmd", "code.d" },       { "gdc", "code.d" },   { "ldc2", "code.d" },
        { "as", "code.s" },
    };
    const char *slash = strrchr(word, '/');
    const char *compiler = slash == NULL ? word : slash + 1;
    for (size_t i = 0; i < COUNT_OF(names); i++)
        if (is_called(compiler, names[i].compiler))
            return names[i].name;
    return NULL;
}

/* The compiler may stand behind others that call it: "ccache cc", "nice -n 5 gcc", "env A=1 cc". */
const char *build_code_name(const struct spec *spec)
{
    for (size_t i = 0; i < spec->build.count; i++) {
        const char *word = spec->build.items[i];
        const char *name = word[0] == '-' ? NULL : name_for(word);
        if (name != NULL || strstr(word, "{code}") != NULL)
            return name != NULL ? name : "code";
    }
    return "code";
}

/* ---- the key ---- */

enum status build_compiler_find(const struct spec *spec, char compiler[4096])
{
    return program_find(spec->build.items[0], spec_path(spec), "", compiler);
}

static void add_number(struct hash_state *state, uint64_t number)
{
    uint8_t bytes[8];
    for (int i = 0; i < 8; i++)
        bytes[i] = (uint8_t)(number >> (8 * i));
    hash_add(state, span_of(bytes, sizeof bytes));
}

/* With its length, so that no two lists of parts look alike. */
static void add(struct hash_state *state, struct span part)
{
    add_number(state, part.size);
    hash_add(state, part);
}

static void add_text(struct hash_state *state, const char *text)
{
    add(state, span_of_text(text));
}

enum status build_key(const struct spec *spec, const char *compiler, struct hash *key)
{
    struct hash_state state;
    struct stat file;
    char real[PATH_MAX];
    if (realpath(compiler, real) == NULL || stat(real, &file) < 0)
        return errno == EACCES ? STATUS_PERMISSION_DENIED : STATUS_NOT_FOUND;
    hash_begin(&state);
    add_text(&state, key_format);
    add_text(&state, spec->tenant);
    add(&state, spec->code);
    add_number(&state, spec->build.count);
    for (size_t i = 0; i < spec->build.count; i++)
        add_text(&state, spec->build.items[i]);
    add_text(&state, spec_path(spec));
    add_text(&state, compiler);
    add_text(&state, real);
    add_number(&state, (uint64_t)file.st_ino);
    add_number(&state, (uint64_t)file.st_size);
    add_number(&state, (uint64_t)file.st_mtim.tv_sec);
    add_number(&state, (uint64_t)file.st_mtim.tv_nsec);
    *key = hash_end(&state);
    return STATUS_OK;
}

char *build_key_text(const struct hash *key, char text[HASH_TEXT_BYTES])
{
    return hex_text(text, key->bytes, sizeof key->bytes);
}

#ifndef SOLO_COMMON_SPEC_BUILD_H
#define SOLO_COMMON_SPEC_BUILD_H

#include "common/base/hash.h"
#include "common/spec/spec.h"

/* What a build is made from, and so where its artefact lies: DATA/builds/KEY. */

#define BUILDS_FOLDER "builds"

/* The name that the source file of a build has: compilers go by its ending, which follows from the
 * compiler ("code.c" for cc, clang or x86_64-linux-gnu-gcc-12), the first word of the command that
 * is a known one. "code" when none is. */
const char *build_code_name(const struct spec *spec);

/* Finds the compiler in the PATH that the service will see: statuses of program_find. */
enum status build_compiler_find(const struct spec *spec, char compiler[4096]);

/* BLAKE2b-256 of tenant, code, command, PATH, and the compiler with what tells one version of its
 * file from another. not_found when it is not there. */
enum status build_key(const struct spec *spec, const char *compiler, struct hash *key);

/* How the artefact's file is called: KEY in hexadecimal digits. */
char *build_key_text(const struct hash *key, char text[HASH_TEXT_BYTES]);

#endif

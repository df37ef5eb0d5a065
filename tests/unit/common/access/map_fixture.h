#ifndef SOLO_TESTS_UNIT_COMMON_ACCESS_MAP_FIXTURE_H
#define SOLO_TESTS_UNIT_COMMON_ACCESS_MAP_FIXTURE_H

#include "common/access/store_voucher.h"
#include "common/access/token_map.h"
#include "common/access/token_text.h"

/* A store that the test itself writes, as tokend would, and one who verifies by it. What fails ends
 * the test. */
extern struct db writer;
extern struct store_voucher voucher;
extern struct token_map map;
extern char dir[4096], run_dir[4096];

void map_fixture_open(void);
void map_fixture_close(void);
void open_map(struct token_map *opened);

/* tokend starts: what the clock is by then, and whether its store is the one it vouched for. */
bool start_tokend(void);
/* And vouches for what it found. */
void make_store(void);
void grant(char text[TOKEN_TEXT_BYTES], const char *tenant, uint32_t permissions,
           uint64_t expires_ns);
void take_back(const char *text);

enum status verify(const char *text, struct caller *caller);
/* By a verifier that starts now. */
enum status verify_anew(const char *text);

/* Into the file that is there. */
void copy_file(const char *from_dir, const char *to_dir, const char *name);
void copy_store(const char *from, const char *to);

#endif

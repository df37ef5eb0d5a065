#ifndef SOLO_SOLOCTL_PICTURE_H
#define SOLO_SOLOCTL_PICTURE_H

#include "common/api/api.h"
#include "soloctl/programs.h"

/* What this Solo is doing, from whoever answers. deployd knows the services, solod the daemons;
 * one of them being away is said, and only when nobody answers at all is it an error. */
struct picture {
    struct programs programs;
    struct span system; /* deployd's map; empty when it did not answer */
    uint8_t system_bytes[FRAME_BYTES_SMALL];
    enum status deployd;
    struct problem problem; /* deployd's */
    bool has_tokens;        /* tokend answered, and this caller may know */
    struct token_status_reply tokens;
    char outbox_state[17];
    struct vault_status_reply vault; /* numbers only: its texts are copied */
    char vault_state[17], vault_reason[REASON_BYTES_MAX + 1]; /* "" when we may not ask */
    char vault_code[32]; /* of the reason: one of vault_reasons.def */
    char state[33], reason[1100];
    char silence[400]; /* "" while every supervisor answers */
};

/* Fails only when nobody answers. */
enum status picture_load(struct session *session, struct picture *picture);

/* The part of it that is no question: state and reason, from what the daemons said. */
void picture_judge(struct picture *picture);

/* A part of a packed map, and a number in it: empty and 0 when there is none. */
struct span picture_part(struct span map, const char *key);
uint64_t picture_number(struct span map, const char *key);
/* The last verification; empty without one. */
struct span picture_verification(const struct picture *picture);

#endif

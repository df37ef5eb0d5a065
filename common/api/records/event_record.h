#ifndef SOLO_COMMON_API_RECORDS_EVENT_RECORD_H
#define SOLO_COMMON_API_RECORDS_EVENT_RECORD_H

#include "common/api/api.h"
#include "common/base/buffer.h"
#include "common/base/hash.h"
#include "common/base/uuid.h"

/* One event as it lies in the store. Fixed header, little-endian, that a raw scan of a damaged file
 * can find; a msgpack body; the BLAKE2b-256 of everything before it:
 *
 *   0  magic "SoloEvt1"   8  format u32   12 length u32 (whole record)   16 log id [16]
 *   32 epoch u64   40 id u64   48 wall ns u64   56 boottime ns u64   64 previous hash [32]
 *   96 previous number of the same tenant u64   104 of the same type u64   112 of the same subject
 * u64 120 body ...   length-32 hash [32]
 *
 * The body is a map: type, tenant, subject, causation_id, request_id, request_hash, request_count,
 * source (map: name, incarnation, number), payload; what is empty is left out. */
enum { EVENT_HEADER_BYTES = 120, EVENT_FORMAT = 1 };
#define EVENT_MAGIC "SoloEvt1"

/* Whether a raw scan would look for a record among these bytes, of this format or a later one. Text
 * cannot have one begin: a format ends with zeros. */
bool event_begins_in(struct span bytes);

struct event {
    uint8_t log_id[16];
    uint64_t epoch;
    uint64_t id;
    uint64_t wall_ns;
    uint64_t boottime_ns;
    struct hash previous_hash;
    uint64_t previous_of_tenant; /* 0: none, also when the event has no tenant */
    uint64_t previous_of_type;
    uint64_t previous_of_subject;
    const char *type; /* texts are ended by NUL; "" when absent */
    const char *tenant;
    const char *subject;
    uint64_t causation_id;
    struct uuid request_id;
    bool has_request_id;
    /* On a request's first event when its outcome may be remembered late: the request's body and
     * how many events it appended. 0: not on this one. */
    struct hash request_hash;
    uint64_t request_count;
    const char *source; /* "" for none */
    uint8_t incarnation[16];
    uint64_t source_number;
    struct span payload; /* a packed map, or nothing */
    struct hash hash;    /* filled by decoding, and by encoding */
};

/* Packs into `record` (cleared first) and fills event->hash. resource_exhausted past
 * EVENT_RECORD_BYTES_MAX. */
enum status event_encode(struct event *event, struct buffer *record);

/* Checks magic, format, length and hash, then reads. Texts are copied into the arena, the payload
 * points into `record`. data_loss for anything that is not a whole, true record. */
enum status event_decode(struct span record, struct arena *arena, struct event *event);

/* As event_decode, but the hash is taken as it stands there: for who has another process compare it
 * at the same time, and believes nothing before that has said that it is whole. */
enum status event_decode_unproven(struct span record, struct arena *arena, struct event *event);

/* Header and hash only, without the body: what a chain walk needs. */
enum status event_decode_header(struct span record, struct event *event);

/* As a row of event.query. */
void event_to_item(const struct event *event, struct event_item *item,
                   char request_text[UUID_TEXT_BYTES]);

/* "service/TENANT/NAME" */
enum { SUBJECT_BYTES = EVENT_SUBJECT_BYTES_MAX + 1 };
char *subject_of_service(char subject[SUBJECT_BYTES], const char *tenant, const char *name);
/* False when it is no service's subject. */
bool subject_to_service(const char *subject, char tenant[NAME_BYTES_MAX + 1],
                        char name[NAME_BYTES_MAX + 1]);

#endif

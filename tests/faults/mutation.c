/* Pages are those that the meta pages count, because the rest of the file is zeros written ahead.
 */
#include "tests/faults/mutation.h"

#include <stdio.h>
#include <string.h>

enum { PAGE_BYTES = 4096, META_LAST_PAGE = 136, META_TXN = 144, RUN_BYTES_MAX = 512 };

static const char *const names[MUTATION_KINDS] = {
    [MUTATION_BITS] = "bits",
    [MUTATION_BYTES] = "bytes",
    [MUTATION_ZERO_PAGE] = "zeroed",
    [MUTATION_SWAP] = "swapped",
    [MUTATION_MISDIRECTED] = "misdirected",
    [MUTATION_CUT] = "cut",
    [MUTATION_LOST_WRITE] = "lost write",
    [MUTATION_META] = "meta",
};

const char *mutation_name(enum mutation_kind kind)
{
    return names[kind];
}

static uint64_t number_at(const struct buffer *file, size_t offset)
{
    uint64_t number;
    memcpy(&number, file->data + offset, sizeof number);
    return number;
}

static uint64_t pages_used(const struct buffer *file)
{
    bool is_second = number_at(file, PAGE_BYTES + META_TXN) > number_at(file, META_TXN);
    uint64_t used = number_at(file, (is_second ? PAGE_BYTES : 0) + META_LAST_PAGE) + 1;
    return used * PAGE_BYTES <= file->size ? used : file->size / PAGE_BYTES;
}

static uint8_t *page_at(struct buffer *file, uint64_t page)
{
    return file->data + page * PAGE_BYTES;
}

static void flip_bits(uint8_t *from, uint64_t size, struct random *random)
{
    for (uint64_t i = 1 + random_below(random, 8); i > 0; i--)
        from[random_below(random, size)] ^= (uint8_t)(1u << random_below(random, 8));
}

static void write_noise(struct buffer *file, uint64_t used, struct random *random)
{
    uint64_t size = 1 + random_below(random, RUN_BYTES_MAX);
    uint64_t offset = random_below(random, used * PAGE_BYTES - size);
    for (uint64_t i = 0; i < size; i++)
        file->data[offset + i] = (uint8_t)random_next(random);
}

void mutate(struct buffer *file, struct span earlier, enum mutation_kind kind,
            struct random *random, char text[128])
{
    uint64_t used = pages_used(file), page = random_below(random, used);
    uint64_t other = random_below(random, used);
    uint8_t kept[PAGE_BYTES];
    snprintf(text, 128, "%s, page %lu (%lu) of %lu", names[kind], (unsigned long)page,
             (unsigned long)other, (unsigned long)used);
    switch (kind) {
    case MUTATION_BITS:
        flip_bits(page_at(file, page), PAGE_BYTES, random);
        break;
    case MUTATION_BYTES:
        write_noise(file, used, random);
        break;
    case MUTATION_ZERO_PAGE:
        memset(page_at(file, page), 0, PAGE_BYTES);
        break;
    case MUTATION_SWAP:
        memcpy(kept, page_at(file, page), PAGE_BYTES);
        memcpy(page_at(file, page), page_at(file, other), PAGE_BYTES);
        memcpy(page_at(file, other), kept, PAGE_BYTES);
        break;
    case MUTATION_MISDIRECTED:
        memmove(page_at(file, page), page_at(file, other), PAGE_BYTES);
        break;
    case MUTATION_CUT:
        buffer_cut(file, random_below(random, used * PAGE_BYTES));
        break;
    case MUTATION_LOST_WRITE:
        if ((page + 1) * PAGE_BYTES <= earlier.size)
            memcpy(page_at(file, page), earlier.data + page * PAGE_BYTES, PAGE_BYTES);
        break;
    case MUTATION_META:
        flip_bits(file->data, 2 * PAGE_BYTES, random);
        flip_bits(page_at(file, page % 2), 160, random);
        break;
    case MUTATION_KINDS:
        break;
    }
}

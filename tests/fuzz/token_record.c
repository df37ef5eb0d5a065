/* Rows of the table `tokens` made of any bytes: refused, or packed again into the same bytes. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/api/records/token_record.h"
#include "common/base/auto.h"
#include "common/base/ensure.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Each refusal is logged; here that is all there is. */
static void be_quiet(void)
{
    static bool is_quiet;
    if (!is_quiet && getenv("SOLO_FUZZ_VERBOSE") == NULL)
        is_quiet = freopen("/dev/null", "w", stderr) != NULL;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    be_quiet();
    struct token_record record;
    if (token_record_decode(span_of(data, size), &record) != STATUS_OK)
        return 0;
    AUTO(buffer_close) struct buffer row = { .limit = TOKEN_RECORD_BYTES_MAX };
    ensure(token_record_encode(&record, &row) == STATUS_OK);
    ensure(span_equal(buffer_span(&row), span_of(data, size)));
    return 0;
}

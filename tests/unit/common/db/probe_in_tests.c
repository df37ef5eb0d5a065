/* Opening a store runs this very program again as its probe. A test's main is Criterion's, so the
 * question is answered before it begins. Linked by every test that opens a store. */
#include "common/api/records/schemas.h"

__attribute__((constructor)) static void probe_if_asked(int argc, char **argv)
{
    schema_probe_if_asked(argc, argv);
}

/* What is a name, and what is text. */
#include "common/base/name.h"

#include <stdio.h>

static bool is_letter_or_digit(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

static bool is_secret_letter(char c)
{
    return (c >= 'A' && c <= 'Z') || is_letter_or_digit(c);
}

static bool matches(const char *name, bool (*is_allowed)(char c))
{
    if (!is_allowed(name[0]))
        return false;
    size_t size = 1;
    for (; name[size] != '\0'; size++)
        if (size >= NAME_BYTES_MAX || (!is_allowed(name[size]) && name[size] != '.' &&
                                       name[size] != '_' && name[size] != '-'))
            return false;
    return true;
}

bool name_is_valid(const char *name)
{
    return matches(name, is_letter_or_digit);
}

bool secret_name_is_valid(const char *name)
{
    return matches(name, is_secret_letter);
}

char *service_key(char key[SERVICE_KEY_BYTES], const char *tenant, const char *name)
{
    snprintf(key, SERVICE_KEY_BYTES, "%s/%s", tenant, name);
    return key;
}

static enum status split(const char *key, bool (*is_valid)(const char *name),
                         char tenant[NAME_BYTES_MAX + 1], char name[NAME_BYTES_MAX + 1])
{
    const char *slash = strchr(key, '/');
    if (slash == NULL || slash - key > NAME_BYTES_MAX || strlen(slash + 1) > NAME_BYTES_MAX)
        return STATUS_INVALID_ARGUMENT;
    char first[NAME_BYTES_MAX + 1];
    snprintf(first, sizeof first, "%.*s", (int)(slash - key), key);
    if (!name_is_valid(first) || !is_valid(slash + 1))
        return STATUS_INVALID_ARGUMENT;
    memcpy(tenant, first, sizeof first);
    snprintf(name, NAME_BYTES_MAX + 1, "%s", slash + 1);
    return STATUS_OK;
}

enum status service_key_split(const char *key, char tenant[NAME_BYTES_MAX + 1],
                              char name[NAME_BYTES_MAX + 1])
{
    return split(key, name_is_valid, tenant, name);
}

enum status secret_path_split(const char *path, char tenant[NAME_BYTES_MAX + 1],
                              char name[NAME_BYTES_MAX + 1])
{
    return split(path, secret_name_is_valid, tenant, name);
}

bool utf8_is_valid(struct span text)
{
    const uint8_t *p = text.data, *end = text.data + text.size;
    while (p < end) {
        uint8_t lead = *p++;
        if (lead == 0)
            return false;
        if (lead < 0x80)
            continue;
        int more = lead >= 0xf0 ? 3 : lead >= 0xe0 ? 2 : 1;
        if (lead < 0xc2 || lead > 0xf4 || end - p < more)
            return false;
        /* The second byte rules out overlong forms, surrogates and what lies beyond U+10FFFF. */
        uint8_t low = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;
        uint8_t high = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;
        if (*p < low || *p > high)
            return false;
        for (p++, more--; more > 0; p++, more--)
            if (*p < 0x80 || *p > 0xbf)
                return false;
    }
    return true;
}

void text_cut(char *text)
{
    size_t size = text == NULL ? 0 : strlen(text), back = 0;
    while (back < 3 && back < size && ((unsigned char)text[size - 1 - back] & 0xc0) == 0x80)
        back++;
    if (back == size)
        return;
    unsigned char lead = (unsigned char)text[size - 1 - back];
    size_t due = lead >= 0xf0 ? 3 : lead >= 0xe0 ? 2 : lead >= 0xc0 ? 1 : 0;
    if (back < due)
        text[size - 1 - back] = '\0';
}

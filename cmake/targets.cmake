# What every target of ours is compiled with, and the three kinds of target there are.
add_library(solo_options INTERFACE)
target_include_directories(solo_options INTERFACE ${CMAKE_SOURCE_DIR})
target_compile_definitions(solo_options INTERFACE _GNU_SOURCE SOLO_VERSION="${PROJECT_VERSION}")
target_compile_options(solo_options INTERFACE
    -Wall -Wextra -Werror -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith
    -Wvla -Wformat=2 -Wundef -fno-common -fno-strict-aliasing -fstack-protector-strong
    # gcc's own: texts are cut on purpose; at -O3 it takes a table of constant keys for a mistake.
    "$<$<C_COMPILER_ID:GNU>:-Wno-format-truncation;-Wno-string-compare>")
# libev's public header casts watchers to their base type; this is the documented way to use it.
target_compile_definitions(solo_options INTERFACE EV_COMPAT3=0 EV_MULTIPLICITY=1)
if(SOLO_SANITIZE)
    target_compile_options(solo_options INTERFACE
        -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer)
    target_link_options(solo_options INTERFACE -fsanitize=address,undefined)
endif()
if(SOLO_FUZZ)
    target_compile_options(solo_options INTERFACE -fsanitize=fuzzer-no-link)
endif()
if(SOLO_FAULTS)
    target_compile_definitions(solo_options INTERFACE SOLO_FAULTS=1)
endif()

# solo_library(name SOURCES ... LINK ...): one folder of common/, linked by those who name it.
function(solo_library name)
    cmake_parse_arguments(ARG "" "" "SOURCES;LINK" ${ARGN})
    add_library(${name} STATIC ${ARG_SOURCES})
    target_link_libraries(${name} PUBLIC solo_options ${ARG_LINK})
endfunction()

# solo_program(name [STATIC] SOURCES ... LINK ...): one folder, one process. Everything but main.c is
# also an object library NAME_parts, which the unit tests link. STATIC where this can be (see
# dependencies.cmake): only for what asks neither for users nor for hosts by name.
function(solo_program name)
    cmake_parse_arguments(ARG "STATIC" "" "SOURCES;LINK" ${ARGN})
    add_library(${name}_parts OBJECT ${ARG_SOURCES})
    target_link_libraries(${name}_parts PUBLIC solo_options ${ARG_LINK})
    add_executable(${name} main.c)
    target_link_libraries(${name} PRIVATE ${name}_parts)
    if(ARG_STATIC AND SOLO_HAS_STATIC_PIE)
        target_link_options(${name} PRIVATE -static-pie)
    endif()
endfunction()

# solo_unit_test(name SOURCES ... LINK ...): a Criterion executable, one entry of ctest.
function(solo_unit_test name)
    cmake_parse_arguments(ARG "" "" "SOURCES;LINK" ${ARGN})
    add_executable(${name} ${ARG_SOURCES})
    target_link_libraries(${name} PRIVATE solo_options PkgConfig::criterion ${ARG_LINK})
    set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
    add_test(NAME ${name} COMMAND ${name} --jobs 1)
    set_tests_properties(${name} PROPERTIES TIMEOUT ${SOLO_TEST_TIMEOUT_S})
endfunction()

return { name = "whole-probe", fields = { { config = { type = "record", fields = {} } } } }

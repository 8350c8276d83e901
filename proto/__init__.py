assert __name__ == "mulligan.proto", "import it as mulligan.proto"

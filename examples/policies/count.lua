local weir = require("weir")
return function(policy) -- one line in the log for each answer: who had how many tokens
  return function(req)
    local who, res, err = req.key and req.key.name, policy(req)
    return res and res:on_end(function(result)
      weir.log.info("used", { who = who, tokens = result.usage.total_tokens })
    end), err
  end
end
